"""The commands around accounts on a home without a server; with one: `tests/system`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from algorium_server import cli
from algorium_server.domain.identity import Principal
from algorium_server.home import first_start, locked, open_database
from algorium_server.services.directory import Directory
from algorium_server.settings import Settings


class Console:
    """Somebody who types commands at a home."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def fails(self, *arguments: str, code: int = 1) -> str:
        """Run a command that must fail, and return what it complains of."""
        assert cli.main([*arguments, "--home", str(self.home)]) == code
        said = self._capsys.readouterr()
        assert not said.out
        return said.err

    def does(self, *arguments: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        code = cli.main([*arguments, "--home", str(self.home)])
        said = self._capsys.readouterr()
        assert code == 0, said.err
        return said.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.does(*arguments, "--json"))

    def principal_of(self, key: str) -> Principal | None:
        """Return as whom a server would let somebody in who shows this key."""

        async def look() -> Principal | None:
            async with await open_database(Settings(home=self.home)) as database:
                directory = Directory(database)
                await directory.load()
                return directory.principal_of_key(key)

        return asyncio.run(look())


@pytest.fixture
def console(sqlite_file: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    async def start() -> None:
        settings = Settings(home=sqlite_file.parent)
        async with await open_database(settings) as database:
            await first_start(database, settings)

    asyncio.run(start())
    return Console(sqlite_file.parent, capsys)


def test_a_user_is_created_changed_disabled_and_deleted(console: Console) -> None:
    made = console.json("user", "create", "jane", "--email", "jane@example.com")
    principal = console.principal_of(made["api_key"])
    assert principal is not None
    assert principal.account.username == "jane"
    assert "self_link" not in made

    assert console.json("user", "update", "jane", "--fullname", "Jane D.")["fullname"] == "Jane D."
    assert console.json("user", "disable", "jane")["disabled"] is True
    assert console.principal_of(made["api_key"]) is None
    assert "disabled" not in console.json("user", "enable", "jane")
    assert console.principal_of(made["api_key"]) is not None
    assert [each["username"] for each in console.json("user", "list")] == ["admin", "jane"]
    assert "jane@example.com" in console.does("user", "list")

    assert "--yes" in console.fails("user", "delete", "jane", code=2)
    assert console.does("user", "delete", "jane", "--yes") == ""
    assert "no user 'jane'" in console.fails("user", "show", "jane")
    assert "no user 'jane'" in console.fails("user", "delete", "jane", "--yes")
    assert "jane" in console.fails("user", "create", "jane", "--email", "j@example.com")


def test_administrators_come_and_go_but_for_the_last(console: Console) -> None:
    console.json("user", "create", "jane", "--email", "jane@example.com")
    assert "no administrator" in console.fails("key", "create", "jane", "--admin")
    console.does("user", "make-admin", "jane")
    assert console.json("key", "create", "jane", "--admin")["key_type"] == "PlatformAdminKey"
    console.does("user", "remove-admin", "admin")
    assert "last administrator" in console.fails("user", "remove-admin", "jane")
    console.does("user", "make-viewer", "jane")
    console.does("user", "remove-viewer", "jane")


def test_a_lost_admin_key_is_replaced(console: Console) -> None:
    (console.home / "credentials.json").unlink()

    made = console.json("key", "create", "--admin", "--label", "found again")

    principal = console.principal_of(made["api_key"])
    assert principal is not None
    assert principal.account.is_admin
    assert made["key_label"] == "found again"
    assert made["api_key"] not in json.dumps(console.json("key", "list", "admin"))


def test_organizations_have_members_with_roles(console: Console) -> None:
    for name in ("jane", "joe"):
        console.json("user", "create", name, "--email", f"{name}@example.com")
    console.json("org", "create", "acme", "--email", "acme@example.com", "--owner", "jane")
    console.does("org", "add-member", "acme", "joe")
    console.does("org", "set-role", "acme", "joe", "executor")

    assert {
        each["username"]: each["organization_role"]
        for each in console.json("org", "members", "acme")
    } == {"jane": "owner", "joe": "executor"}
    assert "owner" in console.fails("org", "set-role", "acme", "jane", "member").lower()
    console.does("org", "remove-member", "acme", "joe")
    assert [each["org_name"] for each in console.json("org", "list")] == ["acme"]
    assert console.json("org", "show", "acme")["org_email"] == "acme@example.com"
    key = console.json("key", "create", "acme", "--type", "management", "--label", "ci")
    principal = console.principal_of(key["api_key"])
    assert principal is not None
    assert principal.account.username == "acme"
    console.does("org", "delete", "acme", "--yes")
    assert "no organization" in console.fails("org", "show", "acme")


def test_no_name_leads_to_another_path(console: Console) -> None:
    console.json("user", "create", "jane", "--email", "jane@example.com")
    console.json("org", "create", "acme", "--email", "acme@example.com", "--owner", "jane")

    assert "nothing can be called" in console.fails("org", "remove-member", "acme", "..")
    assert "nothing can be called" in console.fails("key", "delete", "jane", "..", "--yes")
    assert "nothing can be called" in console.fails("user", "delete", "", "--yes")
    assert "nothing can be called" in console.fails("user", "show", ".")
    assert console.json("org", "members", "acme")
    assert console.json("user", "show", "jane")


def test_a_key_is_rotated_and_deleted(console: Console) -> None:
    made = console.json("key", "create", "admin", "--label", "ci", "--expires", "2199-01-01")
    fresh = console.json("key", "rotate", "admin", made["key_id"], "--grace-s", "0")
    assert fresh["expires_at"].startswith("2199")
    assert console.principal_of(made["api_key"]) is None
    assert console.principal_of(fresh["api_key"]) is not None

    assert fresh["key_id"] in console.does("key", "list", "admin")
    console.does("key", "delete", "admin", fresh["key_id"], "--yes")
    assert console.principal_of(fresh["api_key"]) is None
    assert "no key" in console.fails("key", "delete", "admin", fresh["key_id"], "--yes")
    assert "neither a user nor" in console.fails("key", "list", "nobody")
    assert "whose key" in console.fails("key", "create")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "create", "jane"), "--email"),
        (("user", "bogus"), "bogus"),
        (("org", "set-role", "acme", "jane", "king"), "king"),
        (("key", "create", "admin", "--type", "golden"), "golden"),
        (("user", "list", "--storage", "nonsense"), "--storage"),
    ],
)
def test_wrong_usage_ends_with_2(console: Console, arguments: tuple[str, ...], said: str) -> None:
    assert said in console.fails(*arguments, code=2)


def test_a_server_that_was_killed_is_not_asked_any_more(console: Console) -> None:
    (console.home / "endpoint.json").write_text('{"api": "http://127.0.0.1:9"}')
    with locked(console.home):
        assert "another command is at work" in console.fails("user", "list")


def test_more_users_than_fit_on_a_page_are_all_listed(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("algorium_server.commands.operating.OPERATOR_PAGE_MAX", 2)
    for number in range(4):
        console.json("user", "create", f"user{number}", "--email", f"u{number}@example.com")

    names = [each["username"] for each in console.json("user", "list")]

    assert names == ["admin", *(f"user{number}" for number in range(4))]
