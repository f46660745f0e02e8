import io
import json
import os
import sys
from pathlib import Path

import pexpect
import pytest
from standin import KEY, StandIn

from algorium.cli import main

RUN = "import sys; from algorium.cli import main; sys.exit(main())"


class Desk:
    """Runs `algo` in this process."""

    def __init__(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.config = home / ".algorithmia/config"
        self._monkeypatch = monkeypatch
        self._capture = capture

    def algo(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main(arguments)
        out, error = self._capture.readouterr()
        return code, out, error


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Desk:
    return Desk(home, monkeypatch, capfd)


def test_a_piped_key_is_checked_saved_and_used(desk: Desk, stand_in: StandIn) -> None:
    code, out, error = desk.algo("auth", "--api", stand_in.address, stdin=f"{KEY}\n")

    assert (code, error) == (0, "")
    assert out.startswith(f"saved profile default: {stand_in.address}")
    assert desk.algo("run", "demo/Hello", "-d", "x") == (0, "Hello x\n", "")


def test_a_key_that_the_server_does_not_know_is_not_saved(desk: Desk, stand_in: StandIn) -> None:
    code, out, error = desk.algo("auth", "--api", stand_in.address, stdin="simWrong\n")

    assert (code, out) == (1, "")
    assert "Nothing was saved" in error
    assert not desk.config.exists()


def test_profiles_are_listed_without_their_keys_and_removed(desk: Desk) -> None:
    for name in ("default", "work"):
        words = ("auth", "--no-check", "--api", "http://127.0.0.1:1", "--profile", name)
        assert desk.algo(*words, stdin="simVerySecretKeyOfSomebody1\n")[0] == 0

    code, out, _ = desk.algo("auth", "--list")
    listed = json.loads(desk.algo("auth", "--list", "--json")[1])

    assert code == 0
    assert "VerySecret" not in out
    assert [each["profile"] for each in listed] == ["default", "work"]
    assert listed[0]["key"] == "…ody1"
    assert desk.algo("auth", "--logout", "--profile", "work")[0] == 0
    assert desk.algo("auth", "--logout", "--profile", "work")[0] == 1
    assert "work" not in desk.algo("auth", "--list")[1]


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("--api", "http://127.0.0.1:1", "--no-check"), ""),
        (("--api", "http://127.0.0.1:1", "--no-check"), "sim key\x07\n"),
        (("--api", "http://127.0.0.1:1", "--no-check", "--ca-cert", "/nowhere"), "simKey\n"),
        (("--list", "--logout"), ""),
    ],
    ids=["no-key", "no-such-key", "no-file", "both"],
)
def test_what_makes_no_sense_is_refused(desk: Desk, arguments: tuple[str, ...], stdin: str) -> None:
    code, out, error = desk.algo("auth", *arguments, stdin=stdin)

    assert (code, out) == (2, "")
    assert error.splitlines()[-1].startswith("hint: ")
    assert not desk.config.exists()


def test_an_address_that_is_none_is_refused(desk: Desk) -> None:
    code, _, error = desk.algo("auth", "--api", "nonsense", stdin="simKey\n")

    assert code == 1
    assert "not the address of an API" in error


def test_a_key_that_is_typed_is_not_shown(desk: Desk, home: Path, stand_in: StandIn) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        ["-c", RUN, "auth", "--profile", "typed"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=60,
    )
    terminal.expect_exact("API address [http://127.0.0.1:8080]: ")
    terminal.sendline(stand_in.address)
    terminal.expect_exact("API key: ")
    terminal.sendline(KEY)
    terminal.expect_exact("saved profile typed")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 0
    assert KEY not in str(terminal.before)
    assert f'api_key = "{KEY}"' in desk.config.read_text()
