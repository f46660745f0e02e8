"""The chain of the audit log: whatever is changed in it is found."""

import hashlib
import hmac
import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.domain.audit import (
    AuditAction,
    AuditEntry,
    Outcome,
    changed_names,
    changed_values,
)
from algorium_server.domain.audit_chain import (
    FIRST,
    UNKEYED,
    ChainHead,
    ChainKeys,
    Examination,
    append,
    as_object,
    canonical,
    checkpoint_seal,
    is_checkpoint,
    sealed_head,
)

KEYS = ChainKeys({"old": b"o" * 32, "new": b"n" * 32}, current="new")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FEW = settings(max_examples=25)
TEXTS = st.text("ab\0é\ud800\U0001f600", max_size=3)
ENTRIES = st.builds(
    AuditEntry,
    at=st.datetimes(timezones=st.just(UTC)),
    actor_id=TEXTS,
    actor=TEXTS,
    behalf_id=TEXTS,
    behalf=TEXTS,
    key_id=TEXTS,
    algorithm_id=TEXTS,
    action=st.sampled_from(AuditAction).map(str),
    target=TEXTS,
    account_id=TEXTS,
    outcome=st.sampled_from(Outcome),
    request_id=TEXTS,
    address=TEXTS,
    detail=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
LOGS = st.lists(ENTRIES, min_size=1, max_size=6)


def chain(entries, keys=KEYS):
    head, made = ChainHead(), []
    for entry in entries:
        made.append(append(head, entry, keys))
        head = sealed_head(made[-1], keys, was=head)
    return made, head


def verdict(made, head, *, keys=KEYS, known=None):
    examination = Examination(keys, known or {})
    return examination.take(made) or examination.finish(head)


@FEW
@given(LOGS)
def test_what_was_written_holds(entries):
    made, head = chain(entries)

    assert verdict(made, head, known={each.number: each.digest for each in made}) is None


@FEW
@given(LOGS, st.data())
def test_a_changed_entry_is_found(entries, data):
    made, head = chain(entries)
    place = data.draw(st.integers(0, len(made) - 1))
    name = data.draw(st.sampled_from([each.name for each in fields(AuditEntry)]))
    entry = made[place].entry
    value = getattr(entry, name)
    others = {
        "at": st.datetimes(timezones=st.just(UTC)),
        "outcome": st.sampled_from(Outcome),
        "detail": st.dictionaries(TEXTS, TEXTS, max_size=3),
    }.get(name, TEXTS)
    other = data.draw(others.filter(lambda each: each != value))
    made[place] = replace(made[place], entry=replace(entry, **{name: other}))

    broken = verdict(made, head)
    assert broken is not None
    assert broken.number == place + 1


@FEW
@given(LOGS, st.data())
def test_a_removed_entry_is_found(entries, data):
    made, head = chain(entries)
    place = data.draw(st.integers(0, len(made) - 1))
    del made[place]

    broken = verdict(made, head)
    assert broken is not None
    assert broken.number == place + 1


@FEW
@given(st.lists(ENTRIES, min_size=2, max_size=6), st.data())
def test_entries_that_changed_places_are_found(entries, data):
    made, head = chain(entries)
    first = data.draw(st.integers(0, len(made) - 2))
    second = data.draw(st.integers(first + 1, len(made) - 1))
    one, other = made[first], made[second]
    made[first] = replace(other, number=one.number)
    made[second] = replace(one, number=other.number)

    broken = verdict(made, head)
    assert broken is not None
    assert broken.number == first + 1


@FEW
@given(LOGS, ENTRIES, st.data())
def test_an_inserted_entry_is_found(entries, slipped, data):
    made, head = chain(entries)
    place = data.draw(st.integers(0, len(made)))
    before = made[place - 1] if place else None
    at = ChainHead() if before is None else ChainHead(number=before.number, digest=before.digest)
    forged = append(at, slipped, ChainKeys({"new": b"guessed"}, current="new"))
    rest = [replace(each, number=each.number + 1) for each in made[place:]]

    broken = verdict([*made[:place], forged, *rest], head)
    assert broken is not None
    assert broken.number == place + 1


@FEW
@given(LOGS, ENTRIES)
def test_a_log_made_anew_without_the_key_is_found(entries, forged):
    _, head = chain(entries)
    made, without_key = chain([forged], UNKEYED)

    assert verdict(made, without_key).number == 1
    assert verdict(made, head).number == 1


@FEW
@given(st.lists(ENTRIES, min_size=2, max_size=6), st.data())
def test_an_end_that_was_cut_off_is_found(entries, data):
    made, head = chain(entries)
    kept = data.draw(st.integers(1, len(made) - 1))
    short = made[:kept]
    # The head cannot be made to fit: its seal says of which entry it is.
    moved = replace(head, number=kept, digest=short[-1].digest)

    assert verdict(short, head).number == kept + 1
    assert verdict(short, moved).number == kept + 1


@FEW
@given(st.lists(ENTRIES, min_size=2, max_size=6), ENTRIES, st.data())
def test_entries_behind_a_cut_do_not_hide_it(entries, later, data):
    made, head = chain(entries)
    kept = data.draw(st.integers(1, len(made) - 1))
    moved = replace(head, number=kept, digest=made[kept - 1].digest)
    next_one = append(moved, later, KEYS)

    broken = verdict([*made[:kept], next_one], sealed_head(next_one, KEYS, was=moved))
    assert broken is not None
    assert broken.number == kept + 2


@FEW
@given(st.lists(ENTRIES, min_size=2, max_size=6), st.data())
def test_an_older_copy_of_the_whole_is_found_by_its_checkpoint(entries, data):
    made, _ = chain(entries)
    kept = data.draw(st.integers(0, len(made) - 1))
    old, head = chain(entries[:kept])
    known = {made[-1].number: made[-1].digest}

    assert verdict(old, head) is None
    assert verdict(old, head, known=known).number == kept + 1


@FEW
@given(LOGS)
def test_another_log_than_the_checkpoint_knows_is_found(entries):
    made, head = chain(entries)

    assert verdict(made, head, known={1: bytes(32)}).number == 1


@FEW
@given(st.lists(ENTRIES, min_size=1, max_size=3), st.lists(ENTRIES, min_size=1, max_size=3))
def test_a_chain_goes_on_with_another_key(before, after):
    made, head = chain(before, ChainKeys({"old": b"o" * 32}, current="old"))
    for entry in after:
        made.append(append(head, entry, KEYS))
        head = sealed_head(made[-1], KEYS, was=head)

    assert verdict(made, head) is None
    broken = verdict(made, head, keys=ChainKeys({"new": b"n" * 32}, current="new"))
    assert broken.number == 1
    assert "key" in broken.reason


@FEW
@given(ENTRIES, ENTRIES)
def test_two_entries_have_two_texts(one, other):
    same = one == other

    assert (canonical(1, "k", one) == canonical(1, "k", other)) is same


def test_the_digest_can_be_made_by_others():
    entry = AuditEntry(
        at=NOW, actor="jane", action="key.created", target="key:jane/1", detail={"b": "2", "a": "ü"}
    )
    (made,), _ = chain([entry])
    text = json.dumps(
        [
            *(1, 1, "new", "2026-03-01T00:00:00.000000+00:00", "", "jane", "", "", "", ""),
            *("key.created", "key:jane/1", "", "done", "", "", [["a", "ü"], ["b", "2"]]),
        ],
        separators=(",", ":"),
    )

    assert canonical(1, "new", entry) == text.encode()
    assert made.digest == hmac.digest(b"n" * 32, FIRST + text.encode(), hashlib.sha256)


def test_the_same_moment_in_another_zone_is_the_same_entry():
    here = AuditEntry(at=NOW, action="key.created", target="x")
    there = replace(here, at=NOW.astimezone(timezone(timedelta(hours=5))))

    assert canonical(1, "k", here) == canonical(1, "k", there)


def test_an_empty_log_holds():
    assert verdict([], ChainHead()) is None
    assert verdict([], ChainHead(), known={3: bytes(32)}).number == 1


def test_entries_behind_the_head_are_found():
    made, _ = chain([AuditEntry(at=NOW, action="key.created", target=str(n)) for n in range(3)])
    _, head = chain([each.entry for each in made[:2]])

    assert verdict(made, head).number == 3


def test_a_checkpoint_is_known_by_its_seal():
    seal = checkpoint_seal(7, b"d" * 32, KEYS)

    assert is_checkpoint(7, b"d" * 32, seal=seal, keys=KEYS)
    assert not is_checkpoint(8, b"d" * 32, seal=seal, keys=KEYS)
    assert not is_checkpoint(7, b"e" * 32, seal=seal, keys=KEYS)
    assert not is_checkpoint(7, b"d" * 32, seal="é", keys=KEYS)
    assert not is_checkpoint(7, b"d" * 32, seal=seal, keys=UNKEYED)


def test_a_head_is_no_checkpoint():
    made, head = chain([AuditEntry(at=NOW, action="key.created", target="x")])

    assert not is_checkpoint(1, made[0].digest, seal=head.seal.hex(), keys=KEYS)


@pytest.mark.parametrize("has_digest", [True, False], ids=["with-digest", "without"])
def test_an_entry_as_an_object(has_digest):
    entry = AuditEntry(at=NOW, action="key.created", target="x", detail={"a": "b"})
    (made,), _ = chain([entry])
    shown = as_object(made, has_digest=has_digest)

    assert json.loads(json.dumps(shown)) == shown
    assert shown["at"] == "2026-03-01T00:00:00.000000+00:00"
    assert shown["detail"] == {"a": "b"}
    assert ("digest" in shown) is has_digest


def test_what_differs_is_told():
    one = AuditEntry(at=NOW, action="a", target="x")
    other = replace(one, action="b", actor="jane")

    assert changed_names(one, other) == "actor, action"
    assert changed_values(one, other) == {"actor": " -> jane", "action": "a -> b"}


def test_actions_fit_and_are_said_alike():
    for action in AuditAction:
        noun, _, verb = action.partition(".")
        assert noun
        assert verb
        assert action == action.lower()
