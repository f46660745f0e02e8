#!/bin/sh
# Brings what the server is tested against into .make/peers: object stores, and an identity provider.
# `.ci/run` calls it.
#
# Usage: sh scripts/peers.sh      (in the root of the checkout)
#
#   versitygw        an S3 server over a directory; Go
#   fake-gcs-server  an emulator of Google Cloud Storage; Go
#   azurite          the emulator of Azure's storage by its maker; npm
#   oidc-provider    a certified OpenID Connect provider; npm
#
# Two minutes on two cores the first time, and nothing once they are there. What cannot be had is
# said and left out: the tests that need it are skipped by name.
set -u

versitygw=v1.8.0
fake_gcs=v1.56.1
azurite=3.37.0
oidc_provider=9.13.3

peers=$PWD/.make/peers

say() { printf 'peers: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# get_go NAME MODULE VERSION: builds a command of a module, unless it is there in that version.
get_go() {
    stamp=$peers/$1.version
    if [ -x "$peers/bin/$1" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$3" ]; then return; fi
    if ! have go; then
        say "no $1: Go is not installed (https://go.dev/dl)"
        return
    fi
    say "building $1 $3"
    if GOBIN=$peers/bin go install -ldflags='-s -w' "$2@$3"; then
        printf '%s\n' "$3" >"$stamp"
    else
        say "no $1: it could not be built"
    fi
}

# get_npm NAME FILE VERSION: installs a package that has a file, unless it is there in that version.
get_npm() {
    stamp=$peers/$1.version
    if [ -e "$peers/npm/node_modules/$2" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$3" ]; then
        return
    fi
    if ! have npm; then
        say "no $1: npm is not installed"
        return
    fi
    say "installing $1 $3"
    mkdir -p "$peers/npm"
    if npm install --prefix "$peers/npm" --no-audit --no-fund --ignore-scripts --silent \
        "$1@$3"; then
        printf '%s\n' "$3" >"$stamp"
    else
        say "no $1: it could not be installed"
    fi
}

mkdir -p "$peers/bin"
get_go versitygw github.com/versity/versitygw/cmd/versitygw "$versitygw"
get_go fake-gcs-server github.com/fsouza/fake-gcs-server "$fake_gcs"
get_npm azurite .bin/azurite-blob "$azurite"
get_npm oidc-provider oidc-provider/lib/index.js "$oidc_provider"
