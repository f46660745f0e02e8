"""
Messages of source hosts: whether one is true, and what it means.

| provider         | proof                                                        |
|------------------|--------------------------------------------------------------|
| GitHub           | `X-Hub-Signature-256` or `X-Hub-Signature`: HMAC of the body  |
| GitLab           | `X-Gitlab-Token`: the secret itself                           |
| Bitbucket Server | `X-Hub-Signature`: HMAC of the body                           |
| Bitbucket Cloud  | the secret in the address; if it signs as well, that must fit |

Where the body is signed, a delivery's number can be forged by whoever has seen the body: it counts
as known if its number *or* its body has come before. Where the secret itself comes along, whoever
has seen a message can forge all of the next, and the number alone counts: these hosts do not date
their bodies, so a commit that was taken back and pushed again comes with the same words. And
nothing is believed that a message says of commits: it only has us look what the newest one is.

Source: wire specification, "Webhook from the SCM host".
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from algorium_server.domain.errors import WebhookMalformed
from algorium_server.domain.scm_names import is_branch, is_repository
from algorium_server.domain.scms import Provider

_HASHES: Final = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_EVENT_HEADERS: Final = {
    Provider.GITHUB: "x-github-event",
    Provider.GITLAB: "x-gitlab-event",
    Provider.BITBUCKET_SERVER: "x-event-key",
    Provider.BITBUCKET_CLOUD: "x-event-key",
}
_DELIVERY_HEADERS: Final = {
    Provider.GITHUB: ("x-github-delivery",),
    # Older ones send the event's id only, which what automata push in reply has in common with it.
    Provider.GITLAB: ("idempotency-key", "x-gitlab-event-uuid"),
    Provider.BITBUCKET_SERVER: ("x-request-id",),
    Provider.BITBUCKET_CLOUD: ("x-request-uuid",),
}
_SIGN_DATED_BODIES: Final = frozenset({Provider.GITHUB, Provider.BITBUCKET_SERVER})
_REF: Final = "refs/heads/"
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryNews:
    """
    What a message says of a repository itself.

    Attributes:
        repository_id: By which the host finds it; empty if it does not say.
        owner: Empty if it does not say.
        name: Like `owner`.
        branch: Its default branch; empty if it does not say.
    """

    repository_id: str = ""
    owner: str = ""
    name: str = ""
    branch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """Branches have new commits; those that were deleted are not among them."""

    repository: RepositoryNews
    branches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The repository is called otherwise now, or belongs to somebody else, or has another head."""

    repository: RepositoryNews


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Nothing for us."""

    reason: str


WebhookEvent = Pushed | Changed | Ignored


def is_genuine(
    provider: Provider, headers: Mapping[str, str], body: bytes, *, secret: str, token: str
) -> bool:
    """
    Whether a message was sent by who knows the secret.

    Args:
        provider: Who should have sent it.
        headers: Names in lower case.
        body: As it arrived.
        secret: What only the host and we know.
        token: What the address had as `token`.
    """
    if not secret:
        return False
    if provider is Provider.GITLAB:
        return _is_same(headers.get("x-gitlab-token", ""), secret)
    signatures = [
        headers[name] for name in ("x-hub-signature-256", "x-hub-signature") if name in headers
    ]
    if provider is Provider.BITBUCKET_CLOUD:
        # A repository's hook signs only if somebody gave it the secret as well.
        return _is_same(token, secret) and all(_fits(one, body, secret) for one in signatures)
    return bool(signatures) and all(_fits(one, body, secret) for one in signatures)


def delivery_keys(provider: Provider, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    """Return by what a message is known if it comes again; one of them suffices."""
    names = _DELIVERY_HEADERS.get(provider, ())
    number = next((headers[name] for name in names if headers.get(name)), "")
    event = headers.get(_EVENT_HEADERS.get(provider, ""), "")
    digest = hashlib.sha256(event.encode("utf-8", "replace") + b"\0" + body).hexdigest()
    if not number:
        return (digest,)
    numbered = hashlib.sha256(number.encode("utf-8", "replace")).hexdigest()
    return (digest, numbered) if provider in _SIGN_DATED_BODIES else (numbered,)


def read_event(provider: Provider, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
    """
    Return what a message means.

    Args:
        provider: Who sent it.
        headers: Names in lower case.
        body: JSON, or a form with JSON in it.

    Raises:
        WebhookMalformed: It is not what this provider sends.
    """
    event = headers.get(_EVENT_HEADERS[provider], "")
    if not event:
        raise WebhookMalformed(f"the header {_EVENT_HEADERS[provider]} is missing")
    payload = _payload(headers, body)
    match provider:
        case Provider.GITHUB:
            return _github(event, payload)
        case Provider.GITLAB:
            return _gitlab(event, payload)
        case Provider.BITBUCKET_CLOUD:
            return _bitbucket_cloud(event, payload)
    return _bitbucket_server(event, payload)


def _payload(headers: Mapping[str, str], body: bytes) -> "_Node":
    if headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        try:
            form = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=8)
        except ValueError:
            raise WebhookMalformed("the form cannot be read") from None
        body = form.get("payload", [""])[0].encode()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookMalformed(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WebhookMalformed("the body is not a JSON object")
    return _Node(value, "")


def _github(event: str, payload: "_Node") -> WebhookEvent:
    if event == "ping":
        return Ignored(reason="a ping")
    if event not in {"push", "repository"}:
        return Ignored(reason=f"nothing is done about {event[:40]!r}")
    repository = payload.at("repository")
    owner = repository.at("owner")
    news = _news(
        repository_id=str(repository.number("id")),
        owner=owner.text("login", "") or owner.text("name", ""),
        name=repository.text("name"),
        branch=repository.text("default_branch", ""),
    )
    if event == "repository":
        action = payload.text("action")
        if action in {"renamed", "transferred", "edited"}:
            return Changed(repository=news)
        return Ignored(reason=f"nothing is done about {action[:40]!r}")
    return _pushed(news, payload.text("ref"), is_gone=payload.flag("deleted"))


def _gitlab(event: str, payload: "_Node") -> WebhookEvent:
    kind = payload.text("event_name", "") or payload.text("object_kind", "")
    if kind in {"project_rename", "project_transfer", "project_update"}:
        news = _at_path(payload.number("project_id"), payload.text("path_with_namespace"), "")
        return Changed(repository=news)
    if kind != "push" or event not in {"Push Hook", "System Hook"}:
        return Ignored(reason=f"nothing is done about {event[:40]!r}")
    project = payload.at("project")
    news = _at_path(
        payload.number("project_id"),
        project.text("path_with_namespace"),
        project.text("default_branch", ""),
    )
    return _pushed(news, payload.text("ref"), is_gone=set(payload.text("after")) == {"0"})


def _bitbucket_cloud(event: str, payload: "_Node") -> WebhookEvent:
    if event not in {"repo:push", "repo:updated", "repo:transfer"}:
        return Ignored(reason=f"nothing is done about {event[:40]!r}")
    repository = payload.at("repository")
    main = repository.at("mainbranch", {})
    news = _at_path(repository.text("uuid"), repository.text("full_name"), main.text("name", ""))
    if event != "repo:push":
        return Changed(repository=news)
    branches = []
    for change in payload.at("push").items("changes"):
        new = change.at("new", {})
        if new.text("type", "") == "branch" and is_branch(new.text("name")):
            branches.append(new.text("name"))
    return Pushed(repository=news, branches=tuple(branches))


def _bitbucket_server(event: str, payload: "_Node") -> WebhookEvent:
    if event == "diagnostics:ping":
        return Ignored(reason="a ping")
    if event not in {"repo:refs_changed", "repo:modified"}:
        return Ignored(reason=f"nothing is done about {event[:40]!r}")
    repository = payload.at("new" if event == "repo:modified" else "repository")
    news = _news(
        repository_id=str(repository.number("id")),
        owner=repository.at("project").text("key"),
        name=repository.text("slug"),
    )
    if event == "repo:modified":
        return Changed(repository=news)
    branches = []
    for change in payload.items("changes"):
        ref = change.at("ref")
        is_branch_of_ours = ref.text("type", "") == "BRANCH" and is_branch(ref.text("displayId"))
        if is_branch_of_ours and change.text("type", "") != "DELETE":
            branches.append(ref.text("displayId"))
    return Pushed(repository=news, branches=tuple(branches))


def _pushed(news: RepositoryNews, ref: str, *, is_gone: bool) -> WebhookEvent:
    branch = ref.removeprefix(_REF)
    if is_gone:
        return Ignored(reason=f"{ref[:100]} was deleted")
    if not ref.startswith(_REF) or not is_branch(branch):
        return Ignored(reason=f"{ref[:100]!r} is no branch that is built")
    return Pushed(repository=news, branches=(branch,))


def _at_path(repository_id: object, path: str, branch: str) -> RepositoryNews:
    owner, _, name = path.rpartition("/")
    return _news(repository_id=str(repository_id), owner=owner, name=name, branch=branch)


def _news(*, repository_id: str, owner: str, name: str, branch: str = "") -> RepositoryNews:
    if not is_repository(owner, name):
        raise WebhookMalformed("the repository's name and owner cannot be read")
    if branch and not is_branch(branch):
        raise WebhookMalformed("the repository's default branch cannot be read")
    return RepositoryNews(repository_id=repository_id, owner=owner, name=name, branch=branch)


def _fits(signature: str, body: bytes, secret: str) -> bool:
    method, _, given = signature.strip().partition("=")
    digest = _HASHES.get(method.lower())
    if digest is None:
        return False
    return _is_same(given.lower(), hmac.new(secret.encode(), body, digest).hexdigest())


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


_MISSING: Final = object()


class _Node:
    """A JSON object of somebody else's, read with the path of what is missing in it."""

    def __init__(self, members: Mapping[str, Any], path: str) -> None:
        self._members = members
        self._path = path

    def at(self, name: str, default: Any = _MISSING) -> "_Node":
        """Return a member that is an object."""
        found = self._members.get(name)
        if found is None and default is not _MISSING:
            found = default
        if not isinstance(found, dict):
            raise self._malformed(name)
        return _Node(found, f"{self._path}{name}.")

    def text(self, name: str, default: Any = _MISSING) -> str:
        """Return a member that is text."""
        found = self._members.get(name)
        if found is None and default is not _MISSING:
            found = default
        if not isinstance(found, str):
            raise self._malformed(name)
        return found

    def number(self, name: str) -> int:
        """Return a member that is a whole number."""
        found = self._members.get(name)
        if not isinstance(found, int) or isinstance(found, bool):
            raise self._malformed(name)
        return found

    def flag(self, name: str) -> bool:
        """Return whether a member is true."""
        return self._members.get(name) is True

    def items(self, name: str) -> "list[_Node]":
        """Return a member that is a list of objects."""
        found = self._members.get(name)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._malformed(name)
        return [_Node(one, f"{self._path}{name}[].") for one in found]

    def _malformed(self, name: str) -> WebhookMalformed:
        return WebhookMalformed(f"{self._path}{name} is missing, or of another kind")
