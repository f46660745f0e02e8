"""
Source hosts, and where algorithms are there, in memory: for every look at an algorithm.

Whoever writes rows puts the same values here after the commit; what others write is read anew,
all of it, when a change says so: there are few of these, and they seldom change.
"""

from dataclasses import replace
from typing import Final

from algorium_server.domain.algorithms import INTERNAL_SCM
from algorium_server.domain.scms import Scm, ScmLink
from algorium_server.store import scms as rows
from algorium_server.store.database import Database

_READ_ATTEMPTS: Final = 3
"""If this process keeps writing while it reads, the next change puts right what came too early."""


class ScmDirectory:
    """
    Hosts and links.

    Args:
        database: Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scms: dict[str, Scm] = {}
        self._links: dict[str, ScmLink] = {}
        self._revision = 0

    async def load(self) -> None:
        """
        Read everything anew.

        Raises:
            Unavailable: The database does not answer.
        """
        for _ in range(_READ_ATTEMPTS):
            revision = self._revision
            async with self._database.reading() as connection:
                scms = await rows.scms(connection)
                links = await rows.links(connection)
            if self._revision == revision:
                break
        self._scms = {scm.scm_id: scm for scm in scms}
        self._links = {link.algorithm_id: link for link in links}

    @property
    def default_id(self) -> str:
        """Id of the host for new algorithms that name none."""
        return next((s.scm_id for s in self._scms.values() if s.is_default), INTERNAL_SCM)

    def scms(self) -> tuple[Scm, ...]:
        """Return all hosts but the internal one, oldest first."""
        return tuple(self._scms.values())

    def scm(self, scm_id: str) -> Scm | None:
        """Return a host; the internal one is none of these."""
        return self._scms.get(scm_id)

    def link(self, algorithm_id: str) -> ScmLink | None:
        """Return where an algorithm's repository is."""
        return self._links.get(algorithm_id)

    def links(self) -> tuple[ScmLink, ...]:
        """Return all links, in no particular order."""
        return tuple(self._links.values())

    def put_scm(self, scm: Scm) -> None:
        """Take in a new or changed host."""
        self._revision += 1
        self._scms[scm.scm_id] = scm

    def put_default(self, scm_id: str) -> None:
        """Take in that a host is the default one, and no other is any more."""
        self._revision += 1
        self._scms = {
            known.scm_id: replace(known, is_default=known.scm_id == scm_id)
            for known in self._scms.values()
        }

    def remove_scm(self, scm_id: str) -> None:
        """Forget a host."""
        self._revision += 1
        self._scms.pop(scm_id, None)

    def put_link(self, link: ScmLink) -> None:
        """Take in a new or changed link."""
        self._revision += 1
        self._links[link.algorithm_id] = link

    def remove_link(self, algorithm_id: str) -> None:
        """Forget a link."""
        self._revision += 1
        self._links.pop(algorithm_id, None)
