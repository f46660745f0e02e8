"""What may be pushed."""

from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.limits import REPOSITORY_BYTES_MAX, REPOSITORY_REFS_MAX
from algorium_server.domain.pushes import (
    BRANCH_REF,
    NO_COMMIT,
    PushFacts,
    RefUpdate,
    judge,
    of_built_branch,
)

OLD, NEW = "1" * 40, "2" * 40
NAMES = st.sampled_from(
    ["refs/heads/master", "refs/heads/main", "refs/heads/idea", "refs/tags/v1", "refs/odd/x"]
)
COMMITS = st.sampled_from([NO_COMMIT, OLD, NEW])
UPDATES = st.builds(RefUpdate, ref=NAMES, old=COMMITS, new=COMMITS)
FACTS = st.builds(
    PushFacts,
    head=COMMITS,
    dropped=st.integers(0, 2),
    lost_versions=st.sampled_from([(), ("1.0.0",)]),
    allows_rewriting=st.booleans(),
    refs=st.sampled_from([0, REPOSITORY_REFS_MAX]),
    repository_bytes=st.sampled_from([0, REPOSITORY_BYTES_MAX + 1]),
)


def push(ref=BRANCH_REF, old=OLD, new=NEW):
    return (RefUpdate(ref=ref, old=old, new=new),)


def test_what_is_added_to_the_branch_is_built():
    verdict = judge(push(), PushFacts(head=OLD))

    assert verdict.commit_sha == NEW
    assert not verdict.refusals
    assert not verdict.remarks


def test_the_first_push_makes_the_branch():
    assert judge(push(old=NO_COMMIT), PushFacts()).commit_sha == NEW


def test_the_branch_is_not_deleted():
    assert judge(push(new=NO_COMMIT), PushFacts(head=OLD)).refusals


def test_a_branch_that_has_moved_meanwhile_is_not_pushed_to():
    (refusal,) = judge(push(), PushFacts(head=NEW)).refusals

    assert "git pull" in refusal


def test_history_is_replaced_where_the_owner_lets_it():
    facts = {"head": OLD, "dropped": 1}

    assert judge(push(), PushFacts(**facts)).refusals
    assert judge(push(), PushFacts(**facts, allows_rewriting=True)).commit_sha == NEW


def test_a_published_version_keeps_its_commit():
    versions = tuple(f"1.{minor}.0" for minor in range(7))
    (refusal,) = judge(
        push(),
        PushFacts(head=OLD, dropped=9, lost_versions=versions, allows_rewriting=True),
    ).refusals

    assert "1.0.0, 1.1.0, 1.2.0, 1.3.0, 1.4.0 and 2 more" in refusal


def test_main_is_not_built_and_the_pusher_is_told_what_to_do():
    verdict = judge(push("refs/heads/main", old=NO_COMMIT), PushFacts())

    assert not verdict.commit_sha
    assert verdict.remarks[-1] == "To build it: git push origin main:master"


def test_tags_are_free_and_need_no_remark():
    assert judge(push("refs/tags/v1"), PushFacts(head=OLD)) == judge((), PushFacts())


@given(updates=st.lists(UPDATES, max_size=4, unique_by=lambda update: update.ref), facts=FACTS)
def test_all_of_a_push_is_taken_or_nothing(updates, facts):
    verdict = judge(updates, facts)
    built = of_built_branch(updates)

    assert not (verdict.refusals and (verdict.commit_sha or verdict.remarks))
    if not verdict.refusals:
        assert verdict.commit_sha == (built.new if built else "")
        assert built is None or not built.is_deletion
        assert not (built and facts.dropped and not facts.allows_rewriting)
        assert facts.repository_bytes <= REPOSITORY_BYTES_MAX
        assert not any(update.ref.startswith("refs/odd/") for update in updates)
