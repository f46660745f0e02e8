"""
From a name to a user or an organization that the caller may do something with.

Who may not see all accounts hears "not authorized" of every other one, whether it exists or not.

Source: wire specification, "Users", "Organizations"; "Route disambiguation".
"""

from algorium_server.domain.access import Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.errors import (
    AlgoriumError,
    NotAuthorized,
    OrganizationNotFound,
    UserNotFound,
)
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.services.directory import Directory


class Administrators:
    """
    Rights of those who look after accounts.

    Args:
        directory: Who there is.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def check(self, principal: Principal, action: Action, account_id: str = "") -> None:
        """
        Do nothing if the caller may do this; see `may_administer`.

        Raises:
            NotAuthorized: It may not.
        """
        verdict = may_administer(principal, action, account_id)
        if isinstance(verdict, Refused):
            raise NotAuthorized(detail=verdict.reason)

    def may(self, principal: Principal, action: Action, account_id: str = "") -> bool:
        """Whether the caller may do this."""
        return not isinstance(may_administer(principal, action, account_id), Refused)

    def user(self, principal: Principal, name: str, action: Action) -> Account:
        """
        Return a user, by name or id, if the caller may do this with it.

        Raises:
            NotAuthorized: It may not, or there is none and it may not know.
            UserNotFound: There is none.
        """
        missing = UserNotFound(f"there is no user {name[:100]!r}")
        return self._account(principal, name, action, AccountKind.USER, missing)

    def organization(self, principal: Principal, name: str, action: Action) -> Account:
        """
        Return an organization, by name or id, if the caller may do this with it.

        Raises:
            NotAuthorized: It may not, or there is none and it may not know.
            OrganizationNotFound: There is none.
        """
        missing = OrganizationNotFound(f"there is no organization {name[:100]!r}")
        return self._account(principal, name, action, AccountKind.ORGANIZATION, missing)

    def find(self, name: str, kind: AccountKind) -> Account | None:
        """Return an account of a kind by name or id, whoever asks."""
        # No account is called like an id: those have dashes.
        found = self._directory.account(name.lower()) or self._directory.account_named(name)
        return found if found is not None and found.kind is kind else None

    def _account(
        self,
        principal: Principal,
        name: str,
        action: Action,
        kind: AccountKind,
        missing: AlgoriumError,
    ) -> Account:
        account = self.find(name, kind)
        self.check(principal, action, account.account_id if account is not None else "")
        if account is None:
            raise missing
        return account
