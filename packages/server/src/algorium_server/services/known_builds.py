"""
Builds in memory: what of them is needed to run one, found by id, by algorithm and by commit.

Part of the directory, and brought up to date with it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from algorium_server.domain.algorithms import Build, BuildStatus, Signature


class KnownBuilds:
    """All builds, without log, lock and signature; those are in the store only."""

    def __init__(self) -> None:
        self._builds: dict[str, Build] = {}
        self._of: dict[str, dict[str, Build]] = {}
        self._newest: dict[tuple[str, str], Build] = {}

    def load(self, builds: Iterable[Build]) -> None:
        """Take in all there are, instead of what is known."""
        self._builds = {build.build_id: _lean(build) for build in builds}
        self._of = {}
        self._newest = {}
        for build in self._builds.values():
            self._index(build)

    def get(self, build_id: str) -> Build | None:
        """Return a build by its id."""
        return self._builds.get(build_id)

    def of(self, algorithm_id: str) -> tuple[Build, ...]:
        """Return the builds of an algorithm, in no particular order."""
        return tuple(self._of.get(algorithm_id, {}).values())

    def newest_of_commit(self, algorithm_id: str, sha: str) -> Build | None:
        """Return the newest *successful* build of a commit."""
        return self._newest.get((algorithm_id, sha))

    def put(self, build: Build) -> bool:
        """Take in a new or finished build; return whether anything is different now."""
        build = _lean(build)
        if self._builds.get(build.build_id) == build:
            return False
        self._builds[build.build_id] = build
        self._index(build)
        return True

    def remove_of(self, algorithm_id: str) -> None:
        """Forget all builds of an algorithm."""
        for build in self._of.pop(algorithm_id, {}).values():
            self._builds.pop(build.build_id, None)
            self._newest.pop((algorithm_id, build.commit_sha), None)

    def _index(self, build: Build) -> None:
        self._of.setdefault(build.algorithm_id, {})[build.build_id] = build
        commit = build.algorithm_id, build.commit_sha
        newest = self._newest.get(commit)
        if build.status is BuildStatus.SUCCEEDED and (
            newest is None or _finished_at(build) >= _finished_at(newest)
        ):
            self._newest[commit] = build


def _lean(build: Build) -> Build:
    return replace(build, log="", lock="", signature=Signature())


def _finished_at(build: Build) -> tuple[datetime, str]:
    return build.finished_at or build.started_at, build.build_id
