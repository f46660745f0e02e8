#!/bin/sh
# Makes .venv from uv.lock, with the commands .venv/bin/algorium and .venv/bin/algo.
#
# Usage: sh scripts/setup.sh STAMP      (in the root of the checkout; `make setup` calls it)
#
# Brings its own uv when there is none. Installs git, bubblewrap, slirp4netns and libseccomp with the
# system's package manager where it may (root, or sudo without a password), else prints the line to type.
# POSIX sh: macOS and small containers have no other.
set -eu

stamp=$1
uv_dir=.make/uv

# An environment that happens to be active must not decide where ours goes.
unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT PYTHONHOME PYTHONPATH 2>/dev/null || true

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if have "$candidate" &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            # The interpreter itself: version switchers put scripts named python3 on PATH.
            python=$("$candidate" -c 'import sys; print(sys.executable)')
            return
        fi
    done
    found=none
    if have python3; then found=$(python3 --version 2>&1); fi
    fail "Python 3.11 or newer is needed and not on PATH (python3 there: $found)." \
        "Install it, or name it: make setup PYTHON=/path/to/python3.12"
}

# Sets `installer` to the words before the package names, empty where there is no manager we know,
# and `as_root` to what must stand before them.
find_installer() {
    installer=
    as_root=
    if have apt-get; then
        installer="apt-get install -y --no-install-recommends"
    elif have dnf; then
        installer="dnf install -y"
    elif have pacman; then
        installer="pacman -S --noconfirm --needed"
    elif have apk; then
        installer="apk add"
    elif have zypper; then
        installer="zypper --non-interactive install"
    elif have brew; then
        installer="brew install"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then as_root=sudo; fi
}

# Succeeds if the packages could be installed; asks for no password.
install_packages() {
    [ -n "$installer" ] || return 1
    if [ -n "$as_root" ]; then
        have sudo && sudo -n true 2>/dev/null || return 1
    fi
    say "installing $* ($as_root $installer)"
    case $installer in
    # A fresh machine has no package lists; a failed refresh may still leave usable ones.
    apt-get*) $as_root apt-get update -qq || true ;;
    esac
    # shellcheck disable=SC2086  # words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive $installer "$@" </dev/null
}

print_install_line() {
    if [ -n "$installer" ]; then
        say "    ${as_root:+$as_root }$installer $*"
    else
        say "    install with your system's package manager: $*"
    fi
}

install_tools() {
    missing=
    have git || missing=git
    if [ "$(uname -s)" = Linux ]; then
        have bwrap || missing="$missing bubblewrap"
        have slirp4netns || have pasta || missing="$missing slirp4netns"
        if ! "$python" -c 'import ctypes; ctypes.CDLL("libseccomp.so.2")' 2>/dev/null; then
            case $installer in
            apt-get*) missing="$missing libseccomp2" ;;
            *) missing="$missing libseccomp" ;;
            esac
        fi
    fi
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086
    install_packages $missing && return 0
    say "missing: $missing. Going on without; the server says what it cannot do. To install:"
    # shellcheck disable=SC2086
    print_install_line $missing
}

# The release that wrote the lock: an older one might read it differently.
uv_version() {
    awk '$0 == "name = \"uv\"" { getline; gsub(/version = |"/, ""); print; exit }' uv.lock
}

is_new_enough() {
    "$1" --version 2>/dev/null | "$python" -c '
import re, sys
found = re.search(r"(\d+)\.(\d+)", sys.stdin.read())
wanted = re.match(r"(\d+)\.(\d+)", sys.argv[1])
sys.exit(not (found and wanted and tuple(map(int, found.groups())) >= tuple(map(int, wanted.groups()))))
' "$(uv_version)"
}

find_uv() {
    if have uv && is_new_enough uv; then
        uv=$(command -v uv)
        return
    fi
    uv=$uv_dir/bin/uv
    if [ -x "$uv" ] && is_new_enough "$uv"; then return; fi
    say "getting uv $(uv_version) into $uv_dir"
    if make_private_uv; then return; fi
    # Debian and Ubuntu split venv and pip off from Python.
    short=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    case $installer in
    apt-get*) venv_package=$short-venv ;;
    *) venv_package=python3-pip ;;
    esac
    if install_packages "$venv_package" && make_private_uv; then return; fi
    say "this Python has neither venv nor pip. Type this line, then try again:"
    print_install_line "$venv_package"
    fail "no uv"
}

make_private_uv() {
    rm -rf "$uv_dir"
    if "$python" -m ensurepip --version >/dev/null 2>&1 && "$python" -m venv "$uv_dir"; then
        "$uv_dir/bin/python" -m pip install --quiet --disable-pip-version-check \
            "uv==$(uv_version)" && return 0
    elif "$python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$uv_dir"
        "$python" -m pip install --quiet --disable-pip-version-check --target "$uv_dir" \
            "uv==$(uv_version)" && return 0
    fi
    rm -rf "$uv_dir"
    return 1
}

[ -f uv.lock ] || fail "run me in the root of the checkout"
say "1/4 Python"
find_python
say "    $("$python" --version) at $python"
find_installer
say "2/4 git and the sandbox's tools"
install_tools
say "3/4 uv"
find_uv
say "    $("$uv" --version)"
say "4/4 packages into .venv (the first time takes a minute or two)"
"$uv" sync --locked --python "$python"
for name in algorium algo; do
    [ -x ".venv/bin/$name" ] || fail ".venv/bin/$name is missing after uv sync"
done
: >"$stamp"
say "done"
