"""
One collection out of an export, brought to a server: created, filled, then opened to its readers.

Who may read a collection is settled for those only that an import creates: what others have put
into one that is here already was never part of the export, and is not shown to anybody by it. A
new collection is its owner's alone until it is whole. After a cut, the folder tells that an import
has begun it; that counts only as long as there is nothing in it but what the export has as well.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from algorium._cli.bringing import Outcome
from algorium._cli.export_folder import Begun, collection_path
from algorium._cli.program import Failed
from algorium._cli.watching import watched
from algorium._errors import AlreadyExists
from algorium.wire.bodies import BodyError, ReadAcl

if TYPE_CHECKING:
    from algorium import DataDirectory

_SHOWN_MAX: Final = 5
_READERS: Final = {
    ReadAcl.PRIVATE: "its owner only",
    ReadAcl.MY_ALGORITHMS: "algorithms of its owner",
    ReadAcl.PUBLIC: "everybody",
    None: "whom the server does not tell",
}
"""Who may read, in words: each lets more read than the one before."""
_WIDTHS: Final = {read: width for width, read in enumerate(_READERS)}


class BringingFiles:
    """
    Brings collections to a server.

    Args:
        root: The folder.
        begun: What imports of it have begun.
        is_private: For their owner only, whatever they were.
        overwrites: What is here with other content, or for other readers, becomes as exported.
        is_plan: Nothing is changed; it is told what would be.
        is_quiet: No progress is shown.
    """

    def __init__(
        self,
        root: Path,
        begun: Begun,
        *,
        is_private: bool,
        overwrites: bool,
        is_plan: bool,
        is_quiet: bool,
    ) -> None:
        self._root = root
        self._begun = begun
        self._is_private = is_private
        self._overwrites = overwrites
        self._is_plan = is_plan
        self._is_quiet = is_quiet

    def bring(self, name: str, target: "DataDirectory", entries: tuple[str, ...]) -> Outcome:
        """
        Bring a collection.

        Args:
            name: In the folder.
            target: Where it is to be.
            entries: Who may read it, as the wire has it.

        Raises:
            Failed: It cannot be brought without a loss, or without showing it to more people.
        """
        place = collection_path(self._root, name)
        wanted = self._wanted(entries)
        if self._is_plan and not target.exists():
            count = sum(1 for _ in place.iterdir()) if place.is_dir() else 0
            return Outcome([f"would be created, readable by {_READERS[wanted]}", _would_be(count)])
        if not place.is_dir():  # empty, and lost on the way: some tools copy files only
            place.mkdir(parents=True)
        if not target.exists():
            return self._create(name, place, target, wanted)
        if self._is_unfinished(name, place, target):
            if self._is_plan:
                count = len(_missing(place, target))
                told = f"would be completed, readable by {_READERS[wanted]}"
                return Outcome([told, _would_be(count)])
            return self._complete(name, place, target, wanted)
        return self._merge(place, target, wanted)

    def _wanted(self, entries: tuple[str, ...]) -> ReadAcl:
        try:
            exported = ReadAcl.of_entries(list(entries))
        except BodyError as error:
            raise Failed(f"the manifest does not say who may read it: {error}") from None
        return ReadAcl.PRIVATE if self._is_private else exported

    def _create(self, name: str, place: Path, target: "DataDirectory", wanted: ReadAcl) -> Outcome:
        key = _key(name)
        self._begun.note(key)
        try:
            target.create(ReadAcl.PRIVATE)
        except AlreadyExists:  # somebody else was faster: it is theirs
            self._begun.forget(key)
            raise
        return self._complete(name, place, target, wanted)

    def _complete(
        self, name: str, place: Path, target: "DataDirectory", wanted: ReadAcl
    ) -> Outcome:
        count = self._copy(place, target)
        if wanted is not ReadAcl.PRIVATE:  # last: nobody else reads half of it
            target.set_acl(wanted)
        self._begun.forget(_key(name))
        return Outcome([f"created, readable by {_READERS[wanted]}", f"{count} files copied"])

    def _is_unfinished(self, name: str, place: Path, target: "DataDirectory") -> bool:
        """Whether an import has begun it, and nobody has changed it since."""
        if not self._begun.holds(_key(name)):
            return False
        if _readers(target) is ReadAcl.PRIVATE:
            same = {each.name for each in place.iterdir()} - _missing(place, target)
            if _names(target) <= same:
                return True
        if not self._is_plan:
            self._begun.forget(_key(name))
        return False

    def _merge(self, place: Path, target: "DataDirectory", wanted: ReadAcl) -> Outcome:
        """Add what is missing to a collection that is somebody's; see `overwrites`."""
        now, missing, there = _readers(target), _missing(place, target), _names(target)
        if not self._overwrites:
            _check_same(sorted(missing & there))
            if now is not wanted and missing and _WIDTHS[now] > _WIDTHS[wanted]:
                raise Failed(
                    f"here it is readable by {_READERS[now]}, and what is missing is for "
                    f"{_READERS[wanted]}; --overwrite makes it so"
                )
        changes = self._overwrites and now is not wanted
        outcome = Outcome()
        if now is not wanted and not changes:
            outcome.remarks.append(
                f"stays readable by {_READERS[now]}; --overwrite makes that {_READERS[wanted]}"
            )
        told = f"readable by {_READERS[wanted]} instead of {_READERS[now]}"
        if changes and (others := there - {each.name for each in place.iterdir()}):
            told += f", with {len(others)} files that were not exported"
        if self._is_plan:
            outcome.done.extend([f"would be {told}"] if changes else [])
            outcome.done.append(_would_be(len(missing)))
            return outcome
        is_narrower = _WIDTHS[now] > _WIDTHS[wanted]
        if changes and is_narrower:  # first: fewer are to read what comes
            target.set_acl(wanted)
        if count := self._copy(place, target):
            outcome.done.append(f"{count} files copied")
        if changes and not is_narrower:
            target.set_acl(wanted)
        if changes:
            outcome.done.append(f"now {told}")
        return outcome

    def _copy(self, place: Path, target: "DataDirectory") -> int:
        with watched(str(target.uri), is_quiet=self._is_quiet) as show:
            return len(target.sync_from(place, checksum=True, on_progress=show).copied)


def _key(name: str) -> str:
    return f"collection {name}"


def _would_be(count: int) -> str:
    return f"{count} files would be copied"


def _readers(target: "DataDirectory") -> ReadAcl | None:
    acl = target.acl()
    return None if acl is None else acl.read


def _missing(place: Path, target: "DataDirectory") -> set[str]:
    """Return which files are not there, or with other content."""
    return set(target.sync_from(place, checksum=True, dry_run=True).copied)


def _names(target: "DataDirectory") -> set[str]:
    return {each.name for each in target.files()}


def _check_same(differs: list[str]) -> None:
    """Refuse to replace files that are there with other content."""
    if differs:
        more = f" and {len(differs) - _SHOWN_MAX} more" if len(differs) > _SHOWN_MAX else ""
        raise Failed(
            f"{', '.join(differs[:_SHOWN_MAX])}{more}: here with other content; "
            "--overwrite replaces it"
        )
