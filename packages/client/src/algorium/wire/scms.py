"""
Hosts of source, and what an account is there, as values. Standard library only.

Source: wire specification, "SCM object".
"""

from dataclasses import dataclass

from algorium.wire.reading import flag, inner, members, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmInfo:
    """
    A host of source.

    Attributes:
        scm_id: Names it to the server.
        provider: `internal`, `github`, `gitlab`, `bitbucket` (Server) or `bitbucket-cloud`.
        name: What people call it.
        is_default: Whether new algorithms that name none get this one.
        is_enabled: Whether it can be chosen.
        web_url: Of its pages.
        api_url: Of its API.
        client_id: What the server is there: an OAuth application, or a project.
    """

    scm_id: str
    provider: str
    name: str = ""
    is_default: bool = False
    is_enabled: bool = True
    web_url: str = ""
    api_url: str = ""
    client_id: str = ""

    @classmethod
    def from_json(cls, value: object) -> "ScmInfo":
        """
        Read a host.

        Raises:
            BodyError: It has no id or no provider.
        """
        told = members(value, "scm")
        urls, oauth, scm = inner(told, "urls"), inner(told, "oauth"), inner(told, "scm")
        return cls(
            scm_id=needed(told, "id", "scm"),
            provider=needed(told, "provider", "scm"),
            name=text(told, "name"),
            is_default=flag(told, "default"),
            is_enabled=flag(told, "enabled", unless_told=True),
            web_url=text(urls, "web"),
            api_url=text(urls, "api"),
            client_id=text(oauth, "client_id") or text(scm, "project_key"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmMembership:
    """
    An organization at a host of source to which an account belongs there.

    Attributes:
        name: What it is called there.
        access_level: What the account may do there, in the host's words.
    """

    name: str
    access_level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmConnection:
    """
    What your account is at a host of source, as the host says it now.

    Attributes:
        is_authorized: Whether it is connected.
        username: What it is called there; empty if it is not connected.
        organizations: To which it belongs there.
    """

    is_authorized: bool
    username: str = ""
    organizations: tuple[ScmMembership, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "ScmConnection":
        """
        Read a connection.

        Raises:
            BodyError: It does not say whether it is one.
        """
        told = members(value, "connection")
        listed = told.get("scm_organizations")
        found = [
            members(each, "organization") for each in (listed if isinstance(listed, list) else ())
        ]
        return cls(
            is_authorized=needed(told, "authorization_status", "connection") == "authorized",
            username=text(told, "scm_username"),
            organizations=tuple(
                ScmMembership(
                    name=text(each, "scm_org_username") or text(each, "scm_username"),
                    access_level=text(each, "access_level"),
                )
                for each in found
            ),
        )
