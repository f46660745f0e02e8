"""
What a provider of source hosting must be able to do, without I/O.

Every operation is a generator: it yields requests, is sent answers, and returns what was wanted.
`calling.py` drives it over HTTP; tests can drive it by hand.

    def profile(self, credentials):
        answer = yield Request(method="GET", url=...)
        return ScmProfile(...)

Answers are a stranger's words: every member is checked for its kind, every text for its form.
"""

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from algorium_server.domain.errors import (
    AlgoriumError,
    ScmFailed,
    ScmForbids,
    ScmLacks,
    ScmRejects,
    ScmRejectsCredentials,
)
from algorium_server.domain.limits import SCM_WORDS_CHARS_MAX
from algorium_server.domain.scm_names import is_branch, is_repository
from algorium_server.domain.scms import Scm, ScmCredentials, ScmProfile

T = TypeVar("T")

_ID: Final = re.compile(r"[A-Za-z0-9{}_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request to a provider.

    Attributes:
        json: Body as JSON; None for none.
        form: Body as a form; None for none.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Whether it says that all is well."""
        return 200 <= self.status < 300

    def value(self) -> Any:
        """Return the body as JSON, None if it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


Operation: TypeAlias = Generator[Request, Answer, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRepository:
    """
    A repository at a provider.

    Attributes:
        branch: Its default branch; empty while it has none.
    """

    repository_id: str
    owner: str
    name: str
    branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLogin:
    """What git says when a provider asks who it is."""

    username: str
    password: str = field(repr=False)


class ProviderApi(Protocol):
    """A provider's API for one host."""

    def profile(self, credentials: ScmCredentials) -> Operation[ScmProfile]:
        """Find out whose credentials these are."""
        ...

    def create_repository(
        self, credentials: ScmCredentials, *, owner: str, name: str, description: str
    ) -> Operation[RemoteRepository]:
        """Make a private, empty repository."""
        ...

    def repository(
        self, credentials: ScmCredentials, *, owner: str, name: str
    ) -> Operation[RemoteRepository]:
        """Find a repository by what it is called."""
        ...

    def repository_now(
        self, credentials: ScmCredentials, known: RemoteRepository
    ) -> Operation[RemoteRepository]:
        """Find a repository again, whatever it is called now, as far as the provider can."""
        ...

    def remove_repository(
        self, credentials: ScmCredentials, repository: RemoteRepository
    ) -> Operation[None]:
        """Delete a repository that was made a moment ago."""
        ...

    def add_deploy_key(
        self,
        credentials: ScmCredentials,
        repository: RemoteRepository,
        *,
        title: str,
        public_key: str,
    ) -> Operation[str]:
        """Let a key read a repository; return the key's id there."""
        ...

    def remove_deploy_key(
        self, credentials: ScmCredentials, repository: RemoteRepository, key_id: str
    ) -> Operation[None]:
        """Let it no more; one that is gone already is as good."""
        ...

    def add_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, *, url: str, secret: str
    ) -> Operation[str]:
        """Have us told of pushes and changes; return the webhook's id there."""
        ...

    def remove_webhook(
        self, credentials: ScmCredentials, repository: RemoteRepository, webhook_id: str
    ) -> Operation[None]:
        """Be told no more; one that is gone already is as good."""
        ...

    def git_login(self, credentials: ScmCredentials) -> GitLogin:
        """Return what git shows over HTTP."""
        ...


class OAuthApi(Protocol):
    """What providers have beside that, where accounts are connected in a browser."""

    def authorize_url(self, *, redirect_uri: str, state: str) -> str:
        """Return where a browser is sent, so that its user connects the account."""
        ...

    def exchange(
        self, code: str, *, secret: str, redirect_uri: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get credentials for what the browser brought back."""
        ...

    def refresh(
        self, credentials: ScmCredentials, *, secret: str, now: datetime
    ) -> Operation[ScmCredentials]:
        """Get the next token."""
        ...

    def revoke(self, credentials: ScmCredentials, *, secret: str) -> Operation[None]:
        """Have the provider forget a token."""
        ...


def quoted(text: str) -> str:
    """Return *text* as one segment of a path."""
    return quote(text, safe="")


def base_of(scm: Scm, path: str) -> str:
    """Return the address of a host's API, with the provider's usual path if it is left out."""
    base = scm.urls.api.rstrip("/")
    return base if base.endswith(path) else base + path


def checked(answer: Answer, *, provider: str) -> Any:
    """
    Return the JSON of an answer that is a success.

    Raises:
        AlgoriumError: It is not; the provider's words are in the message.
    """
    if answer.is_success:
        return answer.value()
    raise refusal(answer, provider=provider)


def gone_or_done(answer: Answer, *, provider: str) -> None:
    """
    Do nothing if something was removed, or is not there.

    Raises:
        AlgoriumError: It is there still.
    """
    if not answer.is_success and answer.status not in {404, 410}:
        raise refusal(answer, provider=provider)


def refusal(answer: Answer, *, provider: str) -> AlgoriumError:
    """Return the error that stands for an answer that is no success."""
    words = _words(answer.value()) or f"status {answer.status}"
    said = f"{provider} says: {words}"
    if answer.status == 401:
        return ScmRejectsCredentials(said)
    if answer.status == 403:
        return ScmForbids(said)
    if answer.status in {404, 410}:
        return ScmLacks(said)
    if 300 <= answer.status < 400:
        return ScmRejects(f"{provider} answers from another address: check the host's urls")
    return ScmRejects(said) if answer.status < 500 else ScmFailed(said)


def member(value: Any, *names: str, provider: str) -> Any:
    """
    Return what lies deep in an answer.

    Raises:
        ScmFailed: There is no such member.
    """
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise ScmFailed(f"{provider} answers without {'.'.join(names)}")
        value = value[name]
    return value


def text_of(value: Any, *names: str, provider: str) -> str:
    """
    Return a short text that lies deep in an answer.

    Raises:
        ScmFailed: There is none.
    """
    found = member(value, *names, provider=provider)
    if not isinstance(found, str) or not found or not found.isprintable():
        raise ScmFailed(f"{provider} answers without {'.'.join(names)}")
    return found


def id_of(value: Any, *names: str, provider: str) -> str:
    """
    Return an id that lies deep in an answer: a number or a word.

    Raises:
        ScmFailed: There is none.
    """
    found = str(member(value, *names, provider=provider))
    if not _ID.fullmatch(found):
        raise ScmFailed(f"{provider} answers without {'.'.join(names)}")
    return found


def entries_of(value: Any, *names: str, provider: str) -> list[dict[str, Any]]:
    """
    Return a list of objects that lies deep in an answer.

    Raises:
        ScmFailed: There is none.
    """
    found = member(value, *names, provider=provider)
    if not isinstance(found, list):
        raise ScmFailed(f"{provider} answers without {'.'.join(names) or 'a list'}")
    return [one for one in found if isinstance(one, dict)]


def repository_of(
    *, repository_id: str, owner: object, name: object, branch: object, provider: str
) -> RemoteRepository:
    """
    Return a repository of what a provider says.

    Raises:
        ScmFailed: A name is none that we would send to git.
    """
    if not is_repository(owner, name) or (branch and not is_branch(branch)):
        raise ScmFailed(f"{provider} names a repository or a branch in a way that is not supported")
    return RemoteRepository(
        repository_id=repository_id, owner=str(owner), name=str(name), branch=str(branch or "")
    )


def token_of(value: Any, *, provider: str, now: datetime) -> ScmCredentials:
    """
    Return the credentials in the answer of a token endpoint.

    Raises:
        ScmFailed: There are none.
    """
    seconds = value.get("expires_in") if isinstance(value, dict) else None
    refresh = value.get("refresh_token") if isinstance(value, dict) else None
    is_limited = isinstance(seconds, (int, float)) and 0 < seconds < 1e9
    return ScmCredentials(
        token=text_of(value, "access_token", provider=provider),
        refresh_token=refresh if isinstance(refresh, str) else "",
        expires_at=now + timedelta(seconds=float(seconds or 0)) if is_limited else None,
        is_oauth=True,
    )


def _words(value: Any) -> str:
    """Return what a provider says in an error, from the places where they say it."""
    found: list[str] = []
    if isinstance(value, dict):
        error = value.get("error")
        if isinstance(error, dict):
            _collect(error.get("message"), found)
            _collect(error.get("detail"), found)
        for name in ("message", "error_description", "errors", "error"):
            _collect(value.get(name), found)
    line = " ".join("; ".join(dict.fromkeys(found)).split())
    line = "".join(character for character in line if character.isprintable())
    return line if len(line) <= SCM_WORDS_CHARS_MAX else f"{line[: SCM_WORDS_CHARS_MAX - 3]}..."


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, str) and value:
        found.append(value[:SCM_WORDS_CHARS_MAX])
    elif isinstance(value, list):
        for one in value[:5]:
            _collect(one.get("message") if isinstance(one, dict) else one, found)
    elif isinstance(value, dict):  # GitLab: the field, and what is wrong with it
        for name, one in list(value.items())[:5]:
            inner: list[str] = []
            _collect(one, inner)
            found.extend(f"{name} {text}" for text in inner)
