"""Secrets at rest: whom they open for, and whom not."""

import json
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.domain.errors import InternalError, Unavailable
from algorium_server.sealing import Seal

KEYS = {"one": b"1" * 32, "two": b"2" * 32}
SEAL = Seal(KEYS, current="one")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_what_was_sealed_opens_for_its_owner_and_name(secret, owner, name):
    sealed = SEAL.seal(secret, owner=owner, name=name)

    assert SEAL.unseal(sealed, owner=owner, name=name) == secret


@pytest.mark.parametrize(
    ("owner", "name"), [("jane", "other"), ("bob", "name"), ("janename", ""), ("", "jane\0name")]
)
def test_a_seal_opens_nowhere_else(owner, name):
    sealed = SEAL.seal(b"secret", owner="jane", name="name")

    with pytest.raises(InternalError):
        SEAL.unseal(sealed, owner=owner, name=name)


def test_every_changed_byte_breaks_a_seal():
    sealed = SEAL.seal(b"secret", owner="jane", name="name")

    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(InternalError):
            SEAL.unseal(bytes(changed), owner="jane", name="name")
    for length in range(len(sealed)):
        with pytest.raises(InternalError):
            SEAL.unseal(sealed[:length], owner="jane", name="name")


def test_the_same_secret_is_never_sealed_alike():
    assert len({SEAL.seal(b"secret", owner="jane", name="name") for _ in range(100)}) == 100
    assert b"secret" not in SEAL.seal(b"secret", owner="jane", name="name")


def test_old_seals_open_as_long_as_their_key_is_there():
    old = SEAL.seal(b"secret", owner="jane", name="name")
    new = Seal(KEYS, current="two")

    assert new.unseal(old, owner="jane", name="name") == b"secret"
    assert SEAL.unseal(new.seal(b"s", owner="jane", name="name"), owner="jane", name="name") == b"s"
    with pytest.raises(InternalError) as failed:
        Seal({"two": KEYS["two"]}, current="two").unseal(old, owner="jane", name="name")
    assert "'one'" in failed.value.detail


def test_the_keys_of_a_home_stay_and_are_its_owners_only(tmp_path):
    sealed = Seal.open(tmp_path).seal(b"secret", owner="jane", name="name")

    assert Seal.open(tmp_path).unseal(sealed, owner="jane", name="name") == b"secret"
    file = tmp_path / "secrets" / "sealing.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["sealing.json"]


def test_gateways_that_start_together_have_one_key(tmp_path):
    program = (
        "import sys; from pathlib import Path; from algorium_server.sealing import Seal;"
        "sys.stdin.read(); s = Seal.open(Path(sys.argv[1])).seal(b'x', owner='', name='');"
        "print(s.hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    gateways = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for gateway in gateways:
        gateway.stdin.close()
    seals = [bytes.fromhex(gateway.stdout.read()) for gateway in gateways]
    for gateway in gateways:
        gateway.stdout.close()
        assert gateway.wait() == 0

    assert {Seal.open(tmp_path).unseal(s, owner="", name="") for s in seals} == {b"x"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "{}",
        json.dumps({"current": "a", "keys": {}}),
        json.dumps({"current": "a", "keys": {"a": "AAAA"}}),
        json.dumps({"current": "a", "keys": {"a": "%%%"}}),
    ],
)
def test_a_file_without_good_keys_is_refused_and_stays(tmp_path, text):
    (tmp_path / "secrets").mkdir()
    file = tmp_path / "secrets" / "sealing.json"
    file.write_text(text)

    with pytest.raises(Unavailable):
        Seal.open(tmp_path)
    assert file.read_text() == text
    assert os.listdir(file.parent) == ["sealing.json"]
