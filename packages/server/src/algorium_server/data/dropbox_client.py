"""
Dropbox's own library as we use it: where it is sent, whom it trusts, and what its errors mean.

It reads the operator's proxies and files of passwords, follows redirects, and raises whatever comes
when an answer is not what it should be; here that ends.

Source: Dropbox, "HTTP API": errors.
"""

from collections.abc import Callable
from typing import Any, Final

import requests
from dropbox import Dropbox as Client
from dropbox.exceptions import ApiError, AuthError, DropboxException
from dropbox.stone_validators import ValidationError
from requests.adapters import HTTPAdapter

from algorium_server.data.refusals import Scrubber
from algorium_server.data.requests import trusting
from algorium_server.domain.errors import (
    AlgoriumError,
    ConditionFailed,
    InvalidInput,
    NotAuthorized,
    PathNotFound,
    SourceFailed,
)
from algorium_server.domain.limits import DROPBOX_THREADS_MAX

# What the library raises when an answer is not what it should be: it reads them as they come.
_NOT_UNDERSTOOD: Final = (
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValidationError,
    ValueError,
)
FAILURES: Final = (DropboxException, requests.RequestException, *_NOT_UNDERSTOOD)
"""What calls of the library raise."""

_REASONS: Final[tuple[tuple[str, Callable[[str], AlgoriumError]], ...]] = (
    ("not_found", lambda words: PathNotFound(detail=f"dropbox: {words}")),
    ("not_file", lambda words: PathNotFound(detail=f"dropbox: {words}")),
    ("not_folder", lambda words: PathNotFound(detail=f"dropbox: {words}")),
    ("conflict", lambda words: ConditionFailed(detail=f"dropbox: {words}")),
    ("malformed_path", lambda _: InvalidInput("this name cannot be used here")),
    ("disallowed_name", lambda _: InvalidInput("this name cannot be used here")),
    ("no_write_permission", lambda words: NotAuthorized(f"dropbox: {words}")),
    ("no_permission", lambda words: NotAuthorized(f"dropbox: {words}")),
    ("insufficient_space", lambda _: SourceFailed("dropbox: there is no space left there")),
)


class DropboxClient(Client):  # type: ignore[misc]  # the library has no types
    """Dropbox's client, that may be sent elsewhere: to a proxy of a company, or to a test."""

    endpoint: str = ""

    def _get_route_url(self, hostname: str, route_name: str) -> str:
        url: str = super()._get_route_url(hostname, route_name)
        return url.replace(f"https://{hostname}", self.endpoint, 1) if self.endpoint else url


class _Adapter(HTTPAdapter):
    """Makes connections that trust one more authority."""

    def __init__(self, ca_certificate: str) -> None:
        self._context = trusting(ca_certificate)
        super().__init__(pool_maxsize=DROPBOX_THREADS_MAX)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)


def session_trusting(ca_certificate: str) -> requests.Session:
    """Return what requests go out with; whoever answers may show a certificate of one more CA."""
    session = requests.Session()
    session.mount("https://", _Adapter(ca_certificate))
    # An address that was allowed could lead to one that is not.
    session.max_redirects = 0
    # Else the library would look into the operator's own file of passwords.
    session.auth = lambda request: request
    return session


def reason_of(error: Exception, scrub: Scrubber) -> AlgoriumError:
    """
    Return one of `FAILURES` as an error of ours.

    Args:
        error: What the library raised.
        scrub: Takes secrets out of its words.
    """
    if isinstance(error, AuthError):
        return SourceFailed("dropbox: the connector's credentials are refused")
    if not isinstance(error, ApiError):
        detail = f"{type(error).__name__}: {scrub(str(error))}"
        if isinstance(error, DropboxException):
            status = getattr(error, "status_code", 0)
            return SourceFailed(f"dropbox: the source answers with status {status}", detail=detail)
        if isinstance(error, requests.RequestException):
            return SourceFailed("dropbox: the source does not answer", detail=detail)
        return SourceFailed("dropbox: the source's answer cannot be understood", detail=detail)
    words = scrub(str(error.user_message_text or error.error))
    tags = repr(error.error)
    for found, reason in _REASONS:
        if f"'{found}'" in tags:
            return reason(words)
    return SourceFailed(f"dropbox: {words}")
