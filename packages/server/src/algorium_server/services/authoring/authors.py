"""
From a reference to an algorithm that the caller may do something with.

Source: wire specification, "Algorithm object": what is missing, and what may not be seen.
"""

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain import authorship
from algorium_server.domain.access import Refused
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import NoSuchAlgorithm, NotAuthorized
from algorium_server.domain.identity import Account, Principal
from algorium_server.services.auditing import algorithm_target
from algorium_server.services.directory import Directory


class Authors:
    """
    Rights of those who make algorithms.

    Args:
        directory: Who and what there is.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def target(self, algorithm: Algorithm) -> str:
        """Return how the audit log calls an algorithm."""
        return algorithm_target(algorithm, self._directory)

    def algorithm(self, principal: Principal, ref: AlgorithmRef, act: Act) -> Algorithm:
        """
        Return an algorithm, if the caller may do this with it; the version in *ref* is ignored.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: There is one, but not for this.
        """
        algorithm = self._directory.algorithm(ref)
        if algorithm is None:
            raise NoSuchAlgorithm
        self.check(principal, act, algorithm)
        return algorithm

    def check(self, principal: Principal, act: Act, algorithm: Algorithm) -> None:
        """
        Do nothing if the caller may do this with an algorithm.

        Raises:
            NotAuthorized: It may not.
        """
        verdict = authorship.may(principal, act, algorithm, is_public=self.is_public(algorithm))
        if isinstance(verdict, Refused):
            raise NotAuthorized(hint=verdict.reason)

    def may(self, principal: Principal, act: Act, algorithm: Algorithm) -> bool:
        """Whether the caller may do this with an algorithm."""
        verdict = authorship.may(principal, act, algorithm, is_public=self.is_public(algorithm))
        return not isinstance(verdict, Refused)

    def owner_of_new(self, principal: Principal, username: str) -> Account:
        """
        Return the account for which the caller wants to create an algorithm.

        Raises:
            NotAuthorized: There is none of that name, or the caller may not create any for it.
        """
        owner = self._directory.account_named(username)
        if owner is None:
            raise NotAuthorized(detail=f"there is no account {username!r}")
        verdict = authorship.may_create(principal, owner.account_id)
        if isinstance(verdict, Refused):
            raise NotAuthorized(hint=verdict.reason)
        return owner

    def is_public(self, algorithm: Algorithm) -> bool:
        """Whether an algorithm has a version that anyone may call."""
        return any(v.is_public for v in self._directory.versions_of(algorithm.algorithm_id))
