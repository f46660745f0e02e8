"""`algorium quota` on a home without a server."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rows

from algorium_server.cli import main
from algorium_server.store import accounts
from algorium_server.store.database import Database, sqlite_url


@pytest.fixture
def home(sqlite_file: Path, tmp_path: Path) -> Path:
    place = tmp_path / "home"
    place.mkdir()
    shutil.move(sqlite_file, place / "algorium.db")

    async def fill() -> None:
        async with (
            await Database.open(sqlite_url(place / "algorium.db")) as database,
            database.transaction() as connection,
        ):
            for account in (replace(rows.account("root"), is_admin=True), rows.account("jane")):
                await accounts.add_account(connection, account)

    asyncio.run(fill())
    return place


@pytest.fixture
def quota(home: Path, capsys: pytest.CaptureFixture[str]):
    """Run a command; return its exit code, and what it has printed."""

    def run(*arguments: str):
        code = main(["quota", *arguments, "--home", str(home)])
        printed = capsys.readouterr()
        return code, printed.out or printed.err

    return run


def test_limits_are_set_shown_listed_and_cleared(quota):
    code, told = quota("set", "jane", "calls_per_minute=5", "storage_files=unlimited", "--json")
    assert code == 0
    assert json.loads(told)["quotas"]["calls_per_minute"]["limit"] == 5

    code, shown = quota("show", "JANE", "--account-bytes-max", "7")
    row = {line.split("│")[1].strip(): line for line in shown.splitlines() if "│" in line}
    assert code == 0
    assert "unlimited" in row["storage_files"]
    assert "account" in row["storage_files"]
    assert "7" in row["storage_bytes"]
    assert "server" in row["storage_bytes"]

    code, listed = quota("list", "--json")
    assert [each["limits"] for each in json.loads(listed)] == [
        {"calls_per_minute": 5, "storage_files": "unlimited"}
    ]
    assert "calls_per_minute=5" in quota("list")[1]
    quota("set", "jane", "calls_per_minute=default")
    assert quota("clear", "jane")[0] == 0
    assert json.loads(quota("list", "--json")[1]) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("set", "jane"), 2, "at least one limit"),
        (("set", "jane", "calls_per_minute"), 2, "NAME=VALUE"),
        (("set", "jane", "calls_per_minute=-1"), 2, "a number, unlimited, or default"),
        (("set", "jane", "concurrent_calls=unlimited"), 1, "never unlimited"),
        (("set", "jane", "nothing=1"), 1, "there is no quota 'nothing'"),
        (("set", "nobody", "calls_per_minute=1"), 1, "no user or organization 'nobody'"),
        (("show", "nobody"), 1, "no user or organization 'nobody'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_said(quota, arguments, code, said):
    ended, printed = quota(*arguments)

    assert ended == code
    assert said in printed
