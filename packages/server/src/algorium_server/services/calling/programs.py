"""
What the engine runs for a version: its program, made from the build and the settings.

Source: runtime design, "Decisions".
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal

from algorium_server.build.environments import interpreter_dir
from algorium_server.domain.algorithms import Isolation, NetworkAccess, Resolved, Scaling
from algorium_server.domain.identity import Account, ActingAlgorithm, Principal
from algorium_server.domain.limits import SLOT_MEMORY_BYTES
from algorium_server.engine.program import Program
from algorium_server.services.directory import Directory

_KEPT_MAX: Final = 10_000
"""They are cheap to make again, and most versions are not called for days."""


class Programs:
    """
    Programs, kept as long as there is room.

    Args:
        directory: Who owns what.
        builds_dir: Where checked-out trees of builds lie, by build id.
        environments_dir: Where environments lie, by key.
        share_of: Returns how many of so many slots are this gateway's to start; by default all.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        builds_dir: Path,
        environments_dir: Path,
        share_of: Callable[[int], int] = int,
    ) -> None:
        self._directory = directory
        self.share_of = share_of
        self._builds_dir = builds_dir
        self._environments_dir = environments_dir
        self._programs: dict[str, Program] = {}

    def of(self, resolved: Resolved) -> Program:
        """
        Return the program of a version, or of a commit.

        A version never changes, so its program is what tells its slots apart. A commit runs with
        the settings its algorithm had when it was called first, and its slots are never shared.
        """
        version = resolved.version
        network: Literal["isolated", "full"] = "isolated"
        if resolved.network_access is NetworkAccess.FULL:
            network = "full"
        key = version.version_id if version is not None else f"{resolved.build.build_id} {network}"
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= _KEPT_MAX:
                self._programs.clear()
            scaling = resolved.scaling
            if version is None:
                scaling = Scaling(memory_bytes=scaling.memory_bytes)
            program = self._programs[key] = self._make(key, resolved, scaling, network)
        return program

    def _make(
        self,
        key: str,
        resolved: Resolved,
        scaling: Scaling,
        network: Literal["isolated", "full"],
    ) -> Program:
        build = resolved.build
        fast_start = build.fast_start
        environment_dir = self._environments_dir / build.environment
        return Program(
            key=key,
            source_dir=self._builds_dir / build.build_id,
            source_bytes=build.source_bytes,
            environment_dir=environment_dir,
            interpreter_dir=interpreter_dir(environment_dir),
            entry=build.entry,
            language=build.language,
            preload=fast_start.modules if fast_start.is_possible else None,
            algorithm_id=build.algorithm_id,
            is_shared=scaling.isolation is Isolation.SHARED,
            slots_min=self.share_of(scaling.slots_min) if scaling.slots_min else 0,
            slots_max=self.share_of(scaling.slots_max) if scaling.slots_max else 0,
            network=network,
            memory_bytes=scaling.memory_bytes or SLOT_MEMORY_BYTES,
            as_owner=partial(self._as_owner, resolved),
        )

    def loading_as(self, resolved: Resolved, account: Account) -> Callable[[], Principal]:
        """Return what tells as whom a slot loads that is kept warm for an account."""
        return partial(self._as_account, resolved, account)

    def _as_owner(self, resolved: Resolved) -> Principal:
        """Return as whom a slot loads that is not started for a caller."""
        return self._as_account(resolved, resolved.owner)

    def _as_account(self, resolved: Resolved, known: Account) -> Principal:
        algorithm = resolved.algorithm
        account = self._directory.account(known.account_id) or known
        principal = self._directory.principal_of(account)
        return Principal(
            account=principal.account,
            roles=principal.roles,
            acting=ActingAlgorithm(
                algorithm_id=algorithm.algorithm_id,
                owner_id=algorithm.owner_id,
                tree_id="",
                deadline_at=0.0,
                depth=1,
                is_pipeline_enabled=resolved.is_pipeline_enabled,
                build_id=resolved.build.build_id,
            ),
        )
