"""
Who is asking: accounts, keys, principals.

Source: wire specification, "Users", "Organizations", "API keys".
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AccountKind(StrEnum):
    """Users sign in; organizations own things together."""

    USER = "user"
    ORGANIZATION = "organization"


class Role(StrEnum):
    """What a user is in an organization."""

    OWNER = "owner"
    MEMBER = "member"
    EXECUTOR = "executor"


class KeyKind(StrEnum):
    """What a key is for; the values are the wire's."""

    STANDARD = "AlgorithmKey"
    MANAGEMENT = "ManagementKey"
    ADMIN = "PlatformAdminKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    A user or an organization.

    Attributes:
        account_id: Lower-case UUID.
        username: As created; unique without regard to case among users and organizations.
        email: Of a user, unique; of an organization, whatever its contact has.
        fullname: Of a user; the label of an organization.
        is_admin: Cluster administrator.
        is_viewer: Sees what administrators see, and changes nothing.
        is_disabled: Nobody can act as this account for now.
    """

    account_id: str
    kind: AccountKind
    username: str
    email: str = ""
    fullname: str = ""
    is_admin: bool = False
    is_viewer: bool = False
    is_disabled: bool = False
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPermissions:
    """
    What a key may be used for. Entries only restrict; they never grant what the owner lacks.

    Attributes:
        algo_acl: Patterns `algo://*`, `algo://owner/*`, `algo://owner/name[/*]`.
    """

    allow_algo: bool = True
    algo_acl: tuple[str, ...] = ()
    allow_web_algo: bool = False
    referer_host: str = ""
    allow_data: bool = False
    allow_data_write: bool = False
    allow_algo_management: bool = False


DEFAULT_KEY_PERMISSIONS = KeyPermissions(
    algo_acl=("algo://*",), allow_data=True, allow_data_write=True, allow_algo_management=True
)
"""What the `default-key` of a new account may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """
    An API key without its secret; the secret is kept as a digest only.

    Attributes:
        expires_at: From then on it is as if it were deleted; None for never.
    """

    key_id: str
    account_id: str
    label: str
    kind: KeyKind
    permissions: KeyPermissions
    created_at: datetime
    expires_at: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it is of no use any more."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class ActingAlgorithm:
    """
    The algorithm that acts for its caller, inside the call in flight.

    Attributes:
        tree_id: The root call's request id; names the `.session` collection.
        deadline_at: Monotonic seconds; children inherit what remains.
        depth: 1 for a call made by a client, 2 for its child, and so on.
        call_id: Request id of the call in flight; while it loads, some other name of that.
        build_id: The build that runs; empty if nobody asks.
    """

    algorithm_id: str
    owner_id: str
    tree_id: str
    deadline_at: float
    depth: int
    is_pipeline_enabled: bool
    call_id: str = ""
    build_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """
    Who is asking, with everything the permission rules look at.

    Attributes:
        account: Whose rights count.
        key: The key that was shown, inside algorithms that of the call; None without one. What
            it restricts of data, it restricts for the algorithms it calls as well.
        acting: Set when an algorithm asks on behalf of *account*.
        roles: Role of the account in each organization, by organization id.
        session_id: The browser's session that was shown instead of a key; empty without one.
        sudo_by: The administrator who called with `sudo`, which is why the account is that of the
            algorithm's owner; None without that.
    """

    account: Account
    key: ApiKey | None = None
    acting: ActingAlgorithm | None = None
    roles: dict[str, Role] = field(default_factory=dict)
    session_id: str = ""
    sudo_by: Account | None = None

    @property
    def person(self) -> Account:
        """Who called first, and is billed: by `sudo` not the account whose rights count."""
        return self.sudo_by or self.account

    @property
    def is_lasting(self) -> bool:
        """Whether it stays as long as the directory says the same: sessions and tokens run out."""
        return self.key is not None or self.acting is not None
