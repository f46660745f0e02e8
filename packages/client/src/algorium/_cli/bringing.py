"""
One algorithm out of an export, brought to a server: created, pushed, built, published.

Each step looks at what there is and adds what is missing, so that after a cut the same steps go on.
The history stays as it was, commit by commit, since versions name commits: it replaces the one
commit that an algorithm begins with which an import has created, and nothing else is ever replaced.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from algorium._cli.export_folder import Begun
from algorium._cli.exporting import REFS, variables
from algorium._cli.git import DEFAULT_BRANCH, Git, repository_url
from algorium._cli.program import Failed
from algorium._errors import AlgorithmNotFound, ApiError
from algorium.wire.refs import AlgorithmRef

if TYPE_CHECKING:
    from algorium import AlgorithmInfo, Algorium, ManagedAlgorithm

_HEAD: Final = f"refs/heads/{DEFAULT_BRANCH}"
_THERE: Final = f"refs/there/{DEFAULT_BRANCH}"
_FIRST: Final = "Begin, to be replaced by an import"
"""Message of the commit that an algorithm begins with which an import has created."""
_REWRITING: Final = "rewriting_enabled"
_LATER: Final = "scaling"
"""The setting that quotas of another server may refuse; then the algorithm comes without it."""


class _Pushed(Enum):
    """What of a history was pushed."""

    NOTHING = auto()
    MORE = auto()
    """What was missing, after what was there."""
    ANEW = auto()
    """All of it, in the place of the commit that an import had begun with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of an algorithm or a collection.

    Attributes:
        done: What was done, in words.
        remarks: What remains to be done or to be known.
        problems: What could not be done.
    """

    done: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Bringing:
    """
    Brings algorithms to a server.

    Args:
        client: Of the server.
        git: With the key of the account.
        begun: What imports have begun.
        publishes: Versions are published.
        is_private: For their owner only, whatever they were.
        is_plan: Nothing is changed; it is told what would be.
    """

    def __init__(
        self,
        client: "Algorium",
        git: Git,
        begun: Begun,
        *,
        publishes: bool,
        is_private: bool,
        is_plan: bool,
    ) -> None:
        self._client = client
        self._git = git
        self._begun = begun
        self._publishes = publishes
        self._is_private = is_private
        self._is_plan = is_plan

    def bring(self, ref: AlgorithmRef, place: Path) -> Outcome:
        """
        Bring an algorithm.

        Args:
            ref: What it is to be called.
            place: Where it is in the folder.

        Raises:
            Failed: It cannot be brought, or something else is called so here.
        """
        told = _read(place / "algorithm.json")
        algorithm = self._client.algorithms(ref)
        info = self._info(algorithm)
        if info is not None and not info.is_hosted_here:
            raise Failed(f"the source of {ref} is at a host elsewhere: nothing is pushed to that")
        if self._is_plan:
            return Outcome(self._plan(algorithm, info, told["versions"]))
        outcome, key = Outcome(), f"algorithm {ref.name}"
        if info is None:
            self._begun.note(key)
            try:
                outcome.remarks.extend(self._create(ref, told))
            except (ApiError, Failed):
                self._begun.forget(key)
                raise
            outcome.done.append("created")
        pushed = self._push(algorithm, place / "source.bundle")
        if pushed is not _Pushed.NOTHING:
            outcome.done.append("source pushed")
        if info is None or pushed is _Pushed.ANEW or self._begun.holds(key):
            outcome.remarks.extend(self._settle(algorithm, told))
            self._begun.forget(key)
        if self._publishes and told["versions"]:
            published = _published(algorithm)
            for version in told["versions"]:  # lowest first: each must be above those before
                if version["number"] not in published and self._publish(
                    algorithm, version, outcome
                ):
                    published.add(version["number"])
        known = variables(algorithm)
        missing = [name for name in told["secrets"] if name not in known]
        if missing:
            outcome.remarks.append(f"set its secrets anew: {', '.join(missing)}")
        return outcome

    def _info(self, algorithm: "ManagedAlgorithm") -> "AlgorithmInfo | None":
        try:
            return algorithm.info()
        except AlgorithmNotFound:
            return None

    def _plan(
        self,
        algorithm: "ManagedAlgorithm",
        info: "AlgorithmInfo | None",
        versions: list[dict[str, Any]],
    ) -> list[str]:
        known = _published(algorithm) if info is not None else set()
        missing = [each["number"] for each in versions if each["number"] not in known]
        plan = ["would be created"] if info is None else ["is here already"]
        if self._publishes and missing:
            plan.append(f"versions to publish: {', '.join(missing)}")
        return plan

    def _create(self, ref: AlgorithmRef, told: dict[str, Any]) -> list[str]:
        """Create it, and return what is to be known about that."""
        environment, remark = self._environment(told)
        settings = {name: value for name, value in told["settings"].items() if name != _LATER}
        self._client.algorithms.create(
            ref,
            language=told["language"],
            environment=environment,
            label=told["label"] or None,
            summary=told["summary"] or None,
            tagline=told["tagline"] or None,
            source_visibility=told["source_visibility"],
            license=told["license"],
            network_access=told["network_access"],
            is_pipeline_enabled=told["is_pipeline_enabled"],
            settings=settings,
            source={"initial_commit_message": f"{_FIRST}\n"},
        )
        return [remark] if remark else []

    def _environment(self, told: dict[str, Any]) -> tuple[str | None, str]:
        wanted = told["environment"]
        if not wanted["id"]:
            return None, ""
        found = self._client.environments.list(told["language"])
        for each in found:
            if each.environment_id == wanted["id"]:
                return each.environment_id, ""
        for each in found:
            if each.display_name == wanted["name"]:
                return each.environment_id, ""
        if found:
            return None, f"built in {found[0].display_name}: there is no {wanted['name']!r} here"
        raise Failed(f"nothing runs {told['language']!r} here")

    def _push(self, algorithm: "ManagedAlgorithm", bundle: Path) -> "_Pushed":
        """Push the history unless it is there."""
        if not bundle.is_file():
            return _Pushed.NOTHING
        url = repository_url(self._git.connection, algorithm.ref)
        with tempfile.TemporaryDirectory(prefix="algo-import-") as work:
            git = replace(self._git, directory=Path(work))
            git.run("init", "--quiet", "--bare", is_quiet=True)
            here = (f"+{each}:{each}" for each in REFS)
            git.run("fetch", "--quiet", "--no-tags", str(bundle), *here, is_quiet=True)
            if not git.knows("rev-parse", "--verify", "--quiet", _HEAD):
                raise Failed(f"the exported source has no branch {DEFAULT_BRANCH}")
            there = f"+{_HEAD}:{_THERE}"
            is_empty = not git.ask("ls-remote", "--refs", url, _HEAD)
            if not is_empty:
                git.run("fetch", "--quiet", "--no-tags", url, there, is_quiet=True)
            specs = [f"{each}:{each}" for each in REFS]
            if is_empty or git.knows("merge-base", "--is-ancestor", _THERE, _HEAD):
                known = set(git.ask("ls-remote", "--refs", url, *REFS).split("\n"))
                mine = git.ask("for-each-ref", "--format=%(objectname)\t%(refname)", *_roots())
                if set(mine.split("\n")) <= known:
                    return _Pushed.NOTHING
                git.run("push", "--quiet", url, *specs, is_quiet=True)
                return _Pushed.MORE
            if git.knows("merge-base", "--is-ancestor", _HEAD, _THERE):
                return _Pushed.NOTHING  # somebody has gone on with it here
            self._check_new(git, algorithm)
            with _rewriting(algorithm):
                git.run("push", "--quiet", url, f"+{_HEAD}:{_HEAD}", is_quiet=True)
            git.run("push", "--quiet", url, *specs, is_quiet=True)
            return _Pushed.ANEW

    def _check_new(self, git: Git, algorithm: "ManagedAlgorithm") -> None:
        """Refuse to replace anything but the one commit that an import began with."""
        if git.ask("log", "--format=%s", _THERE) != _FIRST or _published(algorithm):
            raise Failed(
                f"{algorithm.ref} is here with a history of its own; delete it, or import for "
                "another account"
            )

    def _settle(self, algorithm: "ManagedAlgorithm", told: dict[str, Any]) -> list[str]:
        """
        Set what a push changes for its time, and what may be refused; return what was.

        Only for an algorithm that an import has created: others keep their settings.
        """
        now, wanted = algorithm.info().settings, told["settings"]
        if _REWRITING in wanted and now.get(_REWRITING) != wanted[_REWRITING]:
            algorithm.update(settings={_REWRITING: wanted[_REWRITING]})
        if _LATER not in wanted or now.get(_LATER) == wanted[_LATER]:
            return []
        try:
            algorithm.update(settings={_LATER: wanted[_LATER]})
        except ApiError as error:
            return [f"its {_LATER} stays that of this server: {error.message}"]
        return []

    def _publish(
        self, algorithm: "ManagedAlgorithm", version: dict[str, Any], outcome: Outcome
    ) -> bool:
        """Publish a version, and note what came of it; whether it was."""
        number, commit = version["number"], version["commit"]
        try:
            if not any(
                each.succeeded and each.commit == commit and not each.version
                for each in algorithm.builds()
            ):
                algorithm.compile(commit=commit)
            algorithm.publish(
                number=number,
                commit=commit,
                callability="private" if self._is_private else version["callability"] or None,
                release_notes=version["release_notes"] or None,
                sample_input=version["sample_input"] or None,
                sample_output=version["sample_output"] or None,
            )
        except ApiError as error:
            outcome.problems.append(f"version {number}: {error.message}")
            return False
        outcome.done.append(f"published {number}")
        return True


@contextmanager
def _rewriting(algorithm: "ManagedAlgorithm") -> Iterator[None]:
    """Allow that history is replaced, for a moment; `_settle` sees to it if we do not get there."""
    algorithm.update(settings={_REWRITING: True})
    try:
        yield
    finally:
        algorithm.update(settings={_REWRITING: False})


def _published(algorithm: "ManagedAlgorithm") -> set[str]:
    return {each.version.number for each in algorithm.versions() if each.version is not None}


def _roots() -> tuple[str, ...]:
    return tuple(each.removesuffix("/*") for each in REFS)


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        _check_told(told)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{path} is damaged", hint="Export once more.") from None
    return dict(told)


def _check_told(told: Any) -> None:
    """Raise something unless all is there: digests tell that a file is whole, not that it fits."""
    texts = ("label", "summary", "tagline", "language", "source_visibility", "license")
    if not all(isinstance(told[name], str) for name in (*texts, "network_access")):
        raise TypeError
    if not isinstance(told["is_pipeline_enabled"], bool) or not isinstance(told["secrets"], list):
        raise TypeError
    if not all(isinstance(name, str) for name in told["secrets"]):
        raise TypeError
    if not all(isinstance(told["environment"][name], str) for name in ("id", "name")):
        raise TypeError
    if not isinstance(told["settings"], dict) or not isinstance(told["versions"], list):
        raise TypeError
    names = ("number", "commit", "callability", "release_notes", "sample_input", "sample_output")
    if not all(isinstance(each[name], str) for each in told["versions"] for name in names):
        raise TypeError
