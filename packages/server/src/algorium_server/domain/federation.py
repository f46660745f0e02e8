"""
What an identity provider says of somebody, and which rights follow from it.

| organization has external groups | the user bears | role there |
|---|---|---|
| yes | one of its admin, member or executor groups | owner, member or executor; the highest |
| yes | none of them | none |
| no  | any group | as it was |
| no  | no group at all | none: who belongs nowhere has left |

The same for roles in the installation: administrators and viewers are those who bear one of the
groups of the settings, and where the settings name none, roles stay as they are, unless the user
bears no group at all.

Source: wire specification, "JWT, SAML, OIDC".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from algorium.wire.refs import is_name
from algorium_server.domain.errors import InvalidInput, MalformedUser, NotAuthenticated
from algorium_server.domain.identity import Role
from algorium_server.domain.limits import (
    ACCOUNT_NAME_CHARS_MAX,
    ACCOUNT_TEXT_CHARS_MAX,
    EXTERNAL_ID_CHARS_MAX,
    TOKEN_GROUPS_MAX,
)
from algorium_server.domain.organizations import OrganizationProfile
from algorium_server.domain.users import check_email

_USERNAMES_TRIED_MAX: Final = 100
"""People who would be called the same; the next one has to be created by hand."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_NAME_LETTERS: Final = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """
    Where claims say what.

    Attributes:
        username_claim: Names somebody for ever; `sub` if it is empty.
        group_claim: Lists the groups of somebody; empty if groups decide nothing.
        admin_groups: Whoever bears one is administrator of the installation.
        viewer_groups: The same for viewers.
    """

    username_claim: str = ""
    email_claim: str = "email"
    group_claim: str = ""
    admin_groups: frozenset[str] = frozenset()
    viewer_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """
    What the operator says of the identity provider.

    Attributes:
        issuer: As it stands in its tokens, to the letter.
        client_id: What this server is called there; empty if browsers do not sign in so.
        client_secret: Empty for a client without one.
        audience: What stands in `aud` of tokens that programs show.
        jwks_url: Where its keys are; empty if its discovery document says so.
        scope: What is asked for in a browser.
    """

    issuer: str
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    audience: str = ""
    jwks_url: str = ""
    scope: str = "openid profile email"
    rules: ClaimRules = field(default_factory=ClaimRules)

    def __post_init__(self) -> None:
        """
        Check what belongs together.

        Raises:
            InvalidInput: Something is missing, or not safe; names the option.
        """
        for name, url in (("issuer", self.issuer), ("jwks-url", self.jwks_url)):
            if url and not is_safe_address(url):
                raise InvalidInput(f"--oidc-{name} must begin with https://, or be on this machine")
        if not self.client_id and not self.audience:
            raise InvalidInput("--oidc-issuer needs --oidc-client-id, or --oidc-audience")
        if self.client_id and "openid" not in self.scope.split():
            raise InvalidInput("--oidc-scope must contain openid")
        if (self.rules.admin_groups or self.rules.viewer_groups) and not self.rules.group_claim:
            raise InvalidInput(
                "--oidc-admin-groups and --oidc-viewer-groups need --oidc-group-claim"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """
    What an identity provider says of somebody.

    Attributes:
        external_id: Who it is, for ever.
        email: Empty if there is none that can be used here.
        groups: None if groups decide nothing.
        issued_at: When it said so.
    """

    external_id: str
    email: str
    fullname: str
    groups: frozenset[str] | None
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What somebody is in the installation, and in organizations by their id."""

    is_admin: bool = False
    is_viewer: bool = False
    roles: Mapping[str, Role] = field(default_factory=dict)


def read_claims(claims: Mapping[str, Any], rules: ClaimRules, *, now: datetime) -> Assertion:
    """
    Read verified claims.

    Args:
        claims: Of a token whose signature, issuer, audience and end were checked.
        rules: Where they say what.
        now: The time; that of a token that does not say when it was issued.

    Raises:
        NotAuthenticated: A claim that is needed is missing, or of no use.
    """
    name = rules.username_claim or "sub"
    external_id = claim_of(claims, name)
    if not isinstance(external_id, str) or not external_id.strip():
        raise NotAuthenticated(f"The token has no claim {name!r} that says who you are.")
    if len(external_id) > EXTERNAL_ID_CHARS_MAX or not external_id.isprintable():
        raise NotAuthenticated(f"The token's claim {name!r} cannot be the name of an account.")
    # Some write it as text; whatever else it may be, it is not said that the address is verified.
    is_email_doubted = claims.get("email_verified", True) not in (True, "true")
    if is_email_doubted and name == rules.email_claim:
        # Whoever may write any address there could otherwise be anybody.
        raise NotAuthenticated("Your identity provider has not verified your e-mail address.")
    fullname = claims.get("name")
    issued = claims.get("iat")
    return Assertion(
        external_id=external_id,
        email="" if is_email_doubted else _email(claim_of(claims, rules.email_claim)),
        fullname=_words(fullname) if isinstance(fullname, str) else "",
        groups=_groups(claims, rules.group_claim) if rules.group_claim else None,
        issued_at=datetime.fromtimestamp(max(issued, 0), UTC)
        if isinstance(issued, int | float)
        else now,
    )


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """Return the claim called *name*, in inner objects as well: `realm_access.roles`."""
    if not name or name in claims:
        return claims.get(name)
    outer, _, inner = name.partition(".")
    found = claims.get(outer)
    return claim_of(found, inner) if inner and isinstance(found, Mapping) else None


def tags_of(text: str) -> frozenset[str]:
    """Return tags that are separated by commas."""
    return frozenset(part for each in text.split(",") if (part := each.strip()))


def rights_by_groups(
    groups: frozenset[str],
    *,
    rules: ClaimRules,
    known: Rights,
    organizations: Iterable[OrganizationProfile],
) -> Rights:
    """
    Return what somebody who bears *groups* is.

    Args:
        groups: Tags.
        rules: Which of them mean something in the installation.
        known: What the user is so far.
        organizations: At least all that have external groups.
    """
    roles = dict(known.roles) if groups else {}
    for each in organizations:
        theirs = (
            (tags_of(each.external_admin_group), Role.OWNER),
            (tags_of(each.external_member_group), Role.MEMBER),
            (tags_of(each.external_executor_group), Role.EXECUTOR),
        )
        if not any(tags for tags, _ in theirs):
            continue
        roles.pop(each.organization_id, None)
        for tags, role in theirs:
            if tags & groups:
                roles[each.organization_id] = role
                break
    return Rights(
        is_admin=_bears(groups, rules.admin_groups, known.is_admin),
        is_viewer=_bears(groups, rules.viewer_groups, known.is_viewer),
        roles=roles,
    )


def is_safe_address(url: str) -> bool:
    """Whether an address can be trusted to lead where it says: over TLS, or on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    )


def usernames_for(external_id: str) -> Iterator[str]:
    """
    Yield what a new user might be called, best first.

    That is the claim itself where an account can be called so; else what is left of it without
    the letters that no name has, and of an address without its host.
    """
    if is_name(external_id) and len(external_id) <= ACCOUNT_NAME_CHARS_MAX:
        yield external_id
    base = external_id
    local, at, _ = external_id.partition("@")
    if at and local:
        base = local
    base = _NO_NAME_LETTERS.sub("_", base).strip("_")
    if not base or not base[0].isalpha():
        base = f"u_{base}".rstrip("_")
    yield base[:ACCOUNT_NAME_CHARS_MAX]
    for number in range(2, _USERNAMES_TRIED_MAX + 1):
        end = f"_{number}"
        yield base[: ACCOUNT_NAME_CHARS_MAX - len(end)] + end


def _bears(groups: frozenset[str], wanted: frozenset[str], known: bool) -> bool:
    if not groups:
        return False
    return bool(groups & wanted) if wanted else known


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value = claim_of(claims, name)
    if value is None:
        raise NotAuthenticated(
            f"The token has no claim {name!r}, which lists your groups.",
            hint="The administrator of your identity provider can add it to tokens for this"
            " application; without groups it is an empty list.",
        )
    if isinstance(value, str):
        return tags_of(value)
    if (
        not isinstance(value, list)
        or len(value) > TOKEN_GROUPS_MAX
        or not all(isinstance(each, str) for each in value)
    ):
        raise NotAuthenticated(f"The token's claim {name!r} is no list of groups.")
    return frozenset(part for each in value if (part := each.strip()))


def _email(value: Any) -> str:
    try:
        return check_email(value) if isinstance(value, str) else ""
    except MalformedUser:
        return ""


def _words(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:ACCOUNT_TEXT_CHARS_MAX]
