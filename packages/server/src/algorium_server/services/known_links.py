"""
Links in memory: what the company's own directory calls a user, as far as it calls it anything.

Part of the directory, and brought up to date with it. A signed token is somebody's as long as the
link holds by which it was found to be theirs.
"""

from collections.abc import Iterable


class KnownLinks:
    """
    External ids by account.

    Attributes:
        revision: Grows with every change.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._external_ids: dict[str, str] = {}

    def load(self, links: Iterable[tuple[str, str]]) -> None:
        """Take in all there are, by account id, instead of what is known."""
        self._external_ids = dict(links)

    def of(self, account_id: str) -> str:
        """Return the external id of an account, empty if it has none."""
        return self._external_ids.get(account_id, "")

    def put(self, account_id: str, external_id: str) -> None:
        """Take in what an account is called now; empty for nothing."""
        if self.of(account_id) == external_id:
            return
        self.revision += 1
        if external_id:
            self._external_ids[account_id] = external_id
        else:
            del self._external_ids[account_id]
