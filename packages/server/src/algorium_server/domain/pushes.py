"""
What may be pushed: a decision over facts that others have gathered.

One branch is built. What is on it stays: it may be added to, and not be deleted. Its history may
be replaced where the owner allows it, as far as no published version comes from it. All other
branches and tags are free.

Source: wire specification, "Internal git hosting".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.limits import (
    MIB,
    REPOSITORY_BYTES_MAX,
    REPOSITORY_REFS_MAX,
)

NO_COMMIT: Final = "0" * 40
"""How git writes "nothing" where a commit would stand."""
BRANCH: Final = "master"
"""The branch that is built: old clients push it by name."""
BRANCH_REF: Final = f"refs/heads/{BRANCH}"
_FREE: Final = ("refs/heads/", "refs/tags/", "refs/notes/")
_SHOWN_VERSIONS_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RefUpdate:
    """One branch or tag as a push would have it; `NO_COMMIT` stands for none."""

    ref: str
    old: str
    new: str

    @property
    def is_creation(self) -> bool:
        """Whether it was not there before."""
        return self.old == NO_COMMIT

    @property
    def is_deletion(self) -> bool:
        """Whether it is not to be there any more."""
        return self.new == NO_COMMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFacts:
    """
    What a push is judged by.

    Attributes:
        head: Where the built branch is at this moment; `NO_COMMIT` if there is none.
        dropped: How many commits of the built branch would not be on it any more.
        lost_versions: Published versions among them, in their order.
        allows_rewriting: The owner lets history be replaced.
        refs: Branches and tags that there are.
        repository_bytes: Of the repository, with what has just arrived.
    """

    head: str = NO_COMMIT
    dropped: int = 0
    lost_versions: tuple[str, ...] = ()
    allows_rewriting: bool = False
    refs: int = 0
    repository_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushVerdict:
    """
    What becomes of a push: all of it, or nothing.

    Attributes:
        refusals: Why it is refused, in sentences; empty if it is not.
        remarks: What the pusher should know otherwise.
        commit_sha: What is to be built; empty if nothing is.
    """

    refusals: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    commit_sha: str = ""


def of_built_branch(updates: Sequence[RefUpdate]) -> RefUpdate | None:
    """Return what is pushed to the branch that is built."""
    return next((update for update in updates if update.ref == BRANCH_REF), None)


def judge(updates: Sequence[RefUpdate], facts: PushFacts) -> PushVerdict:
    """
    Decide about a push.

    Args:
        updates: Everything that it would change.
        facts: See there.
    """
    refusals = [*_of_repository(updates, facts)]
    refusals += [
        f"{update.ref} cannot be pushed: push branches and tags."
        for update in updates
        if not update.ref.startswith(_FREE)
    ]
    built = of_built_branch(updates)
    if built is not None:
        refusals += _of_built(built, facts)
    if refusals:
        return PushVerdict(refusals=tuple(refusals))
    return PushVerdict(
        remarks=_remarks(updates, facts), commit_sha=built.new if built is not None else ""
    )


def _of_repository(updates: Sequence[RefUpdate], facts: PushFacts) -> list[str]:
    refusals = []
    if facts.repository_bytes > REPOSITORY_BYTES_MAX:
        refusals.append(
            f"The repository would be larger than {REPOSITORY_BYTES_MAX // MIB} MiB. Large files,"
            " such as models, belong into the Data API."
        )
    added = sum(update.is_creation for update in updates)
    if added and facts.refs + added > REPOSITORY_REFS_MAX:
        refusals.append(f"A repository has {REPOSITORY_REFS_MAX} branches and tags at most.")
    return refusals


def _of_built(update: RefUpdate, facts: PushFacts) -> list[str]:
    if update.is_deletion:
        return [f"{BRANCH} is the branch that is built, so it cannot be deleted."]
    if update.old != facts.head:
        return [f"Somebody else has pushed to {BRANCH} meanwhile: git pull, then push again."]
    if not facts.dropped:
        return []
    if not facts.allows_rewriting:
        return [
            f"The history of {BRANCH} cannot be replaced, because builds and versions come from"
            " it. To keep it, git pull and push again. Its owner can allow it: set"
            " settings.rewriting_enabled of the algorithm."
        ]
    if facts.lost_versions:
        shown = ", ".join(facts.lost_versions[:_SHOWN_VERSIONS_MAX])
        more = len(facts.lost_versions) - _SHOWN_VERSIONS_MAX
        shown += f" and {more} more" if more > 0 else ""
        return [f"Published versions come from commits that would be gone from {BRANCH}: {shown}."]
    return []


def _remarks(updates: Sequence[RefUpdate], facts: PushFacts) -> tuple[str, ...]:
    if of_built_branch(updates) is not None:
        return ()
    branches = [
        update.ref.removeprefix("refs/heads/")
        for update in updates
        if update.ref.startswith("refs/heads/") and not update.is_deletion
    ]
    if not branches:
        return ()
    pushed = "main" if "main" in branches else branches[0]
    remark = f"Nothing is built: {BRANCH} is the branch that is built, not {pushed}."
    if pushed == "main" or facts.head == NO_COMMIT:
        return (remark, f"To build it: git push origin {pushed}:{BRANCH}")
    return (remark,)
