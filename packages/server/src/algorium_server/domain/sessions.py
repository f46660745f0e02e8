"""
Sessions of people who signed in with a browser: how long they last, and what shows a page's intent.

A browser sends its cookie whoever made it ask. So what changes something needs more: a token that
only pages of ours can read, bound to the session; and where the browser says which page asks, that
page must be ours.

Source: wire specification, "Common request rules", "Cookie".
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    RETURN_TO_CHARS_MAX,
    SESSION_AGENT_CHARS_MAX,
    SESSION_IDLE_S_MAX,
    SESSION_S_MAX,
)

COOKIE: Final = "ALGO_SESSION"
"""The old service's name; its suffix told installations apart."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class SignInMethod(StrEnum):
    """How somebody showed who they are."""

    PASSWORD = "password"  # noqa: S105 - the name of a way, no password
    OIDC = "oidc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    A session, without the value of its cookie; that is kept as a digest only.

    Attributes:
        used_at: When it was used last, to the minute.
        expires_at: When it ends, however busy.
        address: Where its user signed in from.
        user_agent: What the browser calls itself.
    """

    session_id: str
    account_id: str
    method: SignInMethod
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    address: str = ""
    user_agent: str = ""

    def has_ended(self, now: datetime, *, used_at: datetime | None = None) -> bool:
        """
        Whether it is of no use any more.

        Args:
            now: The time.
            used_at: A later use than is noted.
        """
        last = max(self.used_at, used_at) if used_at is not None else self.used_at
        return now >= min(self.expires_at, last + timedelta(seconds=SESSION_IDLE_S_MAX))


def new_session(
    *,
    session_id: str,
    account_id: str,
    method: SignInMethod,
    now: datetime,
    address: str = "",
    user_agent: str = "",
) -> Session:
    """Return a session that begins now."""
    agent = "".join(letter for letter in user_agent if letter.isprintable())
    return Session(
        session_id=session_id,
        account_id=account_id,
        method=method,
        created_at=now,
        used_at=now,
        expires_at=now + timedelta(seconds=SESSION_S_MAX),
        address=address,
        user_agent=agent[:SESSION_AGENT_CHARS_MAX],
    )


def session_digest(cookie: str) -> str:
    """Return the hexadecimal SHA-256 by which a session is kept and found."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_token(cookie: str) -> str:
    """Return the token that a page of ours sends along: it says nothing about the cookie."""
    return hmac.new(
        cookie.encode("utf-8", "surrogatepass"), b"algorium: csrf token", hashlib.sha256
    ).hexdigest()


def is_csrf_token(token: str, cookie: str) -> bool:
    """Whether *token* is that of the session with this cookie."""
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), csrf_token(cookie).encode())


def is_from_elsewhere(
    *, origin: str | None, fetch_site: str | None, host: str, public_url: str
) -> bool:
    """
    Whether a browser says that a page of somebody else makes the request.

    Args:
        origin: Header `Origin`, None without one; programs send none.
        fetch_site: Header `Sec-Fetch-Site`, the same.
        host: Header `Host`.
        public_url: Where browsers reach this server.
    """
    if fetch_site is not None and fetch_site.strip().lower() == "cross-site":
        return True
    if origin is None:
        return False
    parts, ours = _split(origin), _split(public_url)
    if parts is None or not parts[1]:
        return True  # "null" too: a page that hides where it comes from
    return parts != ours and parts[1] != host.strip().lower()


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address.strip().lower())
    except ValueError:
        return None
    return parts.scheme, parts.netloc


def check_return_to(path: str) -> str:
    """
    Return *path* if it is a place on this server that a browser may be sent to.

    Raises:
        InvalidInput: It leads elsewhere, or a browser might think so.
    """
    # Browsers read backslashes as slashes, drop tabs and line ends, and take `//host` for a host.
    is_local = (
        path.startswith("/")
        and not path.startswith("//")
        and "\\" not in path
        and len(path) <= RETURN_TO_CHARS_MAX
        and all(0x20 < ord(letter) < 0x7F for letter in path)
    )
    if not is_local:
        raise InvalidInput(
            "return_to must be a path on this server, such as /, in ASCII with what is not encoded"
        )
    return path
