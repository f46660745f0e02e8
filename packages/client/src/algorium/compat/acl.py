"""Who may read a directory."""

from typing import Any


class AclInner:
    """One of three answers, by name and as the wire spells it."""

    def __init__(self, pseudonym: str, acl_string: str | None) -> None:
        self.pseudonym = pseudonym
        self.acl_string = acl_string

    def __repr__(self) -> str:
        return f"AclType(pseudonym={self.pseudonym},acl_string={self.acl_string})"


class AclType:
    """The three answers."""

    public = AclInner("public", "user://*")
    my_algos = AclInner("my_algos", "algo://.my/*")
    private = AclInner("private", None)
    default = my_algos
    types = (public, my_algos, private)

    @staticmethod
    def from_acl_response(acl_list: list[str]) -> AclInner:
        """
        Return what a list on the wire means; an empty one is private.

        Raises:
            ValueError: None of the three.
        """
        wanted = acl_list[0] if acl_list else None
        for each in AclType.types:
            if each.acl_string == wanted:
                return each
        raise ValueError(f"Invalid acl string {wanted}")


class Acl:
    """Who may read."""

    def __init__(self, read_acl: AclInner) -> None:
        self.read_acl = read_acl

    @staticmethod
    def from_acl_response(acl_response: dict[str, Any]) -> "Acl":
        """
        Return what the server says.

        Raises:
            ValueError: It does not say.
        """
        if "read" not in acl_response:
            raise ValueError("Response does not contain read ACL")
        return Acl(AclType.from_acl_response(acl_response["read"]))

    def to_api_param(self) -> dict[str, list[str]]:
        """Return the object as the wire has it."""
        wanted = self.read_acl.acl_string
        return {"read": [] if wanted is None else [wanted]}


class ReadAcl:
    """The three answers, to be handed to `create` and `update_permissions`."""

    public = Acl(AclType.public)
    private = Acl(AclType.private)
    my_algos = Acl(AclType.my_algos)
