"""
An identity provider for tests: `oidc-provider`, which is certified, run by node on a free port.

`sh scripts/peers.sh` brings it into `.make/peers`; without it tests are skipped by name. People
sign in there as they do elsewhere: by following redirections and filling in forms.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
import pytest
from joserfc.jwk import RSAKey
from peers import HOW_TO_GET, PEERS, free_port, running_command

CLIENT_ID, CLIENT_SECRET = "algorium", "a secret+with/signs=that need care"
_PROGRAM = "oidc_provider.mjs"
_HOPS_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProvider:
    """A provider that answers."""

    issuer: str

    def follow(self, client: httpx2.Client, url: str, *, login: str, until: str) -> str:
        """
        Do what a person does who is sent to the provider, and return the address behind it.

        Args:
            client: A browser; keeps cookies.
            url: Where it is sent.
            login: What the person types as a name.
            until: How the address begins that the provider sends the browser back to.
        """
        for _ in range(_HOPS_MAX):
            if url.startswith(until):
                return url
            answer = client.get(url)
            if answer.status_code == 200:
                form = re.search(r'name="prompt" value="(\w+)"', answer.text)
                assert form is not None, answer.text
                data = {"prompt": form[1], "login": login, "password": "any"}
                action = re.search(r'action="([^"]+)"', answer.text)
                assert action is not None, answer.text
                answer = client.post(urljoin(url, action[1]), data=data)
            assert answer.status_code in {302, 303}, answer.text
            url = urljoin(url, answer.headers["location"])
        raise AssertionError(f"the provider did not send the browser back: {url}")


@contextlib.contextmanager
def running_provider(
    redirect_uri: str, accounts: dict[str, dict[str, Any]], *, conform: bool = True
) -> Iterator[RunningProvider]:
    """
    Run a provider.

    Args:
        redirect_uri: Where it sends browsers back to.
        accounts: Claims of people, by the name that they sign in with.
        conform: Only the userinfo endpoint tells more than `sub`.
    """
    home = PEERS / "npm"
    if not (home / "node_modules" / "oidc-provider").exists() or not shutil.which("node"):
        pytest.skip(f"no oidc-provider here; {HOW_TO_GET}")
    key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "first"})
    port = free_port()
    wanted = {
        "port": port,
        "home": str(home),
        "jwks": {"keys": [key.as_dict(private=True)]},
        "conform": conform,
        "accounts": accounts,
        "client": {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [redirect_uri],
            "scope": "openid email profile groups",
        },
    }
    program = str(Path(__file__).with_name(_PROGRAM))
    with running_command(["node", program], port, env={"OIDC_PROVIDER": json.dumps(wanted)}):
        yield RunningProvider(issuer=f"http://127.0.0.1:{port}")


def query_of(url: str) -> dict[str, str]:
    """Return the query of an address."""
    return dict(parse_qsl(urlsplit(url).query))
