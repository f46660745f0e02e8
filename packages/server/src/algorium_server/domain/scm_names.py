"""
What source hosts, repositories, branches and commits may be called, and where hosts may be.

Hosts are configured by administrators, but what they say of repositories is a stranger's: each of
these texts becomes an argument of programs, part of a path, or part of an address.

Source: wire specification, "SCM object".
"""

import re
from typing import Final
from urllib.parse import urlsplit

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import SCM_TEXT_CHARS_MAX
from algorium_server.domain.scms import ScmUrls

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WEB: Final = re.compile(
    r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?"
)
_SSH: Final = re.compile(
    r"ssh://(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?"
)
_SCP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]{0,252}:?")
# No part begins with a dash or a dot: it becomes an argument of programs, and part of an address.
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_OWNER: Final = re.compile(r"~?[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){0,8}")
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
_SHA: Final = re.compile(r"[0-9a-f]{40}")


def endpoint_of(url: str) -> str:
    """
    Return the server that an address of a host or a repository is on: scheme, host and port.

    Over SSH the scheme is `https`, which stands for "the server proves who it is".

    Args:
        url: `http`, `https`, `ssh`, or as in `git@example.com:owner/name.git`.
    """
    if "://" not in url:
        host = url.rpartition("@")[2].partition(":")[0]
        return f"https://{host}:22"
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.scheme == "http":
        return f"http://{host}:{parts.port or 80}"
    return f"https://{host}:{parts.port or (22 if parts.scheme == 'ssh' else 443)}"


def check_scm_id(text: str) -> str:
    """
    Return *text* if a host may have it as its id: it becomes part of paths and of file names.

    Raises:
        InvalidInput: It may not.
    """
    if not _ID.fullmatch(text):
        raise InvalidInput("id must be 1 to 64 letters, digits, _ and -, and not begin with - or _")
    return text


def check_urls(urls: ScmUrls) -> ScmUrls:
    """
    Return the addresses of a host if they have the form of addresses.

    Raises:
        InvalidInput: One has not; the message names it.
    """
    for name in ("web", "api", "ssh"):
        text = getattr(urls, name)
        if not text or len(text) > SCM_TEXT_CHARS_MAX:
            raise InvalidInput(f"urls.{name} is missing, or too long")
        if name == "ssh" and (_SSH.fullmatch(text) or _SCP.fullmatch(text)):
            continue
        if not _WEB.fullmatch(text):
            example = "ssh://git@example.com" if name == "ssh" else "https://example.com"
            raise InvalidInput(f"urls.{name} must be an address such as {example}")
    return urls


def check_word(text: str, what: str) -> str:
    """
    Return *text* if it can stand in a request to a host: short, and one line.

    Raises:
        InvalidInput: It cannot. Never tells the text, which may be a secret.
    """
    if len(text) > SCM_TEXT_CHARS_MAX or not text.isprintable():
        raise InvalidInput(f"{what} is too long, or has line breaks or control characters in it")
    return text


def check_repository(owner: str, name: str) -> None:
    """
    Check what a repository and its owner are called.

    Raises:
        InvalidInput: No provider would call them so.
    """
    if not _OWNER.fullmatch(owner) or len(owner) > SCM_TEXT_CHARS_MAX:
        raise InvalidInput(f"{owner[:100]!r} cannot be the owner of a repository")
    if not _REPOSITORY.fullmatch(name) or name.endswith((".git", ".")):
        raise InvalidInput(f"{name[:100]!r} cannot be the name of a repository")


def is_repository(owner: object, name: object) -> bool:
    """Whether what a host says can be the name of a repository and its owner."""
    try:
        check_repository(str(owner), str(name))
    except InvalidInput:
        return False
    return isinstance(owner, str) and isinstance(name, str)


def is_branch(name: object) -> bool:
    """Whether a text can be the name of a branch; git allows more, and we take no risks."""
    return (
        isinstance(name, str)
        and _BRANCH.fullmatch(name) is not None
        and ".." not in name
        and "//" not in name
        and not name.endswith((".lock", "/", "."))
    )


def is_sha(text: object) -> bool:
    """Whether a text is the id of a commit."""
    return isinstance(text, str) and _SHA.fullmatch(text) is not None
