"""
Source hosting elsewhere: which hosts there are, who has connected them, where repositories are.

A *host* (the wire says `scm`) is a configuration that administrators make: a provider such as
GitHub with its addresses, and what the platform is there. A *connection* is what an account has
given us to act for it at a host. A *link* ties an algorithm to its repository at a host: with a key
of its own that may only read, and a secret by which the host's messages are known.

Source: wire specification, "SCM object", "Algorithm SCM status".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from algorium_server.domain.access import ALLOWED, Refused, Verdict
from algorium_server.domain.algorithms import INTERNAL_SCM
from algorium_server.domain.identity import KeyKind, Principal


class Provider(StrEnum):
    """Who hosts; the values are the wire's."""

    INTERNAL = INTERNAL_SCM
    GITHUB = "github"
    GITLAB = "gitlab"
    BITBUCKET_SERVER = "bitbucket"
    BITBUCKET_CLOUD = "bitbucket-cloud"

    @property
    def has_oauth(self) -> bool:
        """Whether accounts connect it in a browser; the others take a token or a password."""
        return self in {Provider.GITHUB, Provider.GITLAB, Provider.BITBUCKET_CLOUD}

    @property
    def label(self) -> str:
        """Its name for people."""
        return _TITLES[self]


_TITLES: Final = {
    Provider.INTERNAL: "this server",
    Provider.GITHUB: "GitHub",
    Provider.GITLAB: "GitLab",
    Provider.BITBUCKET_SERVER: "Bitbucket Server",
    Provider.BITBUCKET_CLOUD: "Bitbucket Cloud",
}


def provider_named(text: str) -> Provider | None:
    """Return the provider that an administrator means, None if there is none."""
    try:
        return Provider(text.strip().lower().replace("_", "-"))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmUrls:
    """
    Where a host is.

    Attributes:
        web: What people see; repositories are cloned from below it over HTTP.
        api: Its API, with or without the provider's usual path.
        ssh: What repositories are fetched from with deploy keys, such as `ssh://git@github.com`;
            an address with `https://` instead has them fetched with the token of whoever
            connected them, for networks that let no SSH out.
    """

    web: str
    api: str
    ssh: str

    @property
    def has_ssh(self) -> bool:
        """Whether repositories are fetched over SSH."""
        return not self.ssh.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scm:
    """
    A host of source as it is kept.

    Attributes:
        client_id: What the platform is called there: of an OAuth application, or the key of the
            project that new repositories go to.
        sealed: The application's secret, encrypted; empty without OAuth.
        is_enabled: It takes new algorithms and connections; those that exist go on either way.
        is_default: For new algorithms that name none. If none is, the internal host is.
    """

    scm_id: str
    provider: Provider
    name: str = ""
    urls: ScmUrls
    client_id: str = ""
    sealed: bytes = b""
    is_enabled: bool = True
    is_default: bool = False
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmOrganization:
    """An organization, group, workspace or project at a host, and what the user is in it."""

    name: str
    access_level: str = "MEMBER"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmProfile:
    """Who somebody is at a host."""

    username: str
    organizations: tuple[ScmOrganization, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmConnection:
    """
    What an account has given us for a host.

    Attributes:
        sealed: `ScmCredentials` as JSON, encrypted.
        revision: Another one after each change.
    """

    account_id: str
    scm_id: str
    profile: ScmProfile
    sealed: bytes
    revision: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmCredentials:
    """
    What is shown to a host; never leaves the process but sealed.

    Attributes:
        token: Of OAuth, or one that the user made there; empty with a password.
        refresh_token: Gets the next token.
        expires_at: When the token ends; None for never.
        username: Of the user, for hosts where a token alone does not do for git.
        password: Instead of a token.
        is_oauth: It came from the application, not from the user's own hands.
    """

    token: str = ""
    refresh_token: str = ""
    expires_at: datetime | None = None
    username: str = ""
    password: str = ""
    is_oauth: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return tuple(text for text in (self.token, self.refresh_token, self.password) if text)


class LinkStatus(StrEnum):
    """How an algorithm's repository can be reached; the values are the wire's."""

    ACTIVE = "active"
    DEPLOY_KEY_ERROR = "deploy_key_error"
    PROVIDER_ERROR = "provider_internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmLink:
    """
    An algorithm and its repository at a host.

    Attributes:
        account_id: Whose connection made it; empty if credentials were given for once.
        repository_id: By which the host finds it, whatever it is called by then.
        branch: Its default branch.
        head_sha: Newest commit there that we know and have acted on.
        deploy_key_id: Empty if there is none.
        webhook_id: Empty if there is none.
        public_key: Of the deploy key, as one line.
        sealed: `LinkSecrets` as JSON, encrypted.
        problem: Why the status is not active, or what else authors should know.
    """

    algorithm_id: str
    scm_id: str
    account_id: str = ""
    repository_id: str = ""
    owner: str
    name: str
    branch: str
    head_sha: str = ""
    deploy_key_id: str = ""
    webhook_id: str = ""
    public_key: str = ""
    sealed: bytes = b""
    status: LinkStatus = LinkStatus.ACTIVE
    problem: str = ""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSecrets:
    """
    What belongs to one link.

    Attributes:
        private_key: Of the deploy key, in OpenSSH's format.
        webhook_secret: By which the host proves that a message is its own.
    """

    private_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthState:
    """
    A connection that was begun in a browser.

    Attributes:
        digest: SHA-256 of the state that the provider hands back.
        browser: SHA-256 of what the browser keeps; whoever comes back without it, and without a
            key of the account, did not begin it.
    """

    digest: str
    scm_id: str
    account_id: str
    browser: str
    expires_at: datetime


INTERNAL_OBJECT: Final[Mapping[str, Any]] = {
    "id": INTERNAL_SCM,
    "provider": INTERNAL_SCM,
    "name": "",
    "default": True,
    "enabled": True,
}


def internal_object(*, is_default: bool) -> dict[str, Any]:
    """Return the internal host as an object of the API."""
    return {**INTERNAL_OBJECT, "default": is_default}


def scm_object(scm: Scm) -> dict[str, Any]:
    """Return a host as an object of the API; its secret is not part of it."""
    described: dict[str, Any] = {
        "id": scm.scm_id,
        "provider": scm.provider.value,
        "name": scm.name,
        "default": scm.is_default,
        "enabled": scm.is_enabled,
        "urls": {"web": scm.urls.web, "api": scm.urls.api, "ssh": scm.urls.ssh},
    }
    if scm.provider.has_oauth:
        # Clients of different ages look under different names.
        described["oauth"] = {"client_id": scm.client_id}
        described["scm"] = {"client_id": scm.client_id}
    else:
        described["scm"] = {"project_key": scm.client_id}
    return described


def connection_object(profile: ScmProfile | None) -> dict[str, Any]:
    """Return what an account is at a host as an object of the API; None if it is nothing."""
    if profile is None:
        return {"authorization_status": "unauthorized"}
    return {
        "authorization_status": "authorized",
        "scm_username": profile.username,
        "scm_organizations": [
            {
                "scm_org_username": one.name,
                "scm_username": one.name,
                "access_level": one.access_level,
            }
            for one in profile.organizations
        ],
    }


def link_members(scm: Scm | None, link: ScmLink) -> dict[str, Any]:
    """Return what the `source` member of an algorithm says of its repository."""
    members: dict[str, Any] = {
        "repository_owner": link.owner,
        "repository_name": link.name,
        "repository_default_branch": link.branch,
    }
    if scm is not None:
        members["repository_https_url"] = web_clone_url(scm, link.owner, link.name)
        if scm.urls.has_ssh:
            members["repository_ssh_url"] = ssh_clone_url(scm, link.owner, link.name)
    return members


def web_clone_url(scm: Scm, owner: str, name: str) -> str:
    """Return where a repository is cloned from over HTTP."""
    middle = "/scm" if scm.provider is Provider.BITBUCKET_SERVER else ""
    return f"{scm.urls.web.rstrip('/')}{middle}/{owner}/{name}.git"


def ssh_clone_url(scm: Scm, owner: str, name: str) -> str:
    """Return where a repository is cloned from over SSH."""
    base = scm.urls.ssh.rstrip("/")
    if not base.startswith("ssh://"):
        return f"{base.rstrip(':')}:{owner}/{name}.git"
    return f"{base}/{owner}/{name}.git"


def may_connect(principal: Principal) -> Verdict:
    """Decide whether the principal may connect its account with hosts, and end that again."""
    if principal.acting is not None:
        return Refused("algorithms may not connect source hosting")
    key = principal.key
    if key is None or key.kind is KeyKind.ADMIN or key.permissions.allow_algo_management:
        return ALLOWED
    return Refused("the key has allow_algo_management=false")
