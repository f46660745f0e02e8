"""Users, organizations, keys and what administrators set, with the client and `algo`."""

import asyncio
import inspect
import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from running import RunningServer

import algorium
from algorium import Algorium, AsyncAlgorium, KeyPermissions
from algorium.cli import main


@pytest.fixture
def admin(server: RunningServer) -> Iterator[Algorium]:
    with Algorium(server.credentials["admin_api_key"], server.api) as client:
        yield client


def test_a_team_is_made_and_works_with_keys_of_its_own(
    server: RunningServer, admin: Algorium
) -> None:
    lead = admin.users.create("lead", "lead@example.com", fullname="The Lead")
    hand = admin.users.create("hand", "hand@example.com")
    admin.organizations.create(
        "crew", label="Crew", contact_name="Lead", email="crew@example.com", owners=[lead.user_id]
    )
    management = admin.keys.create(
        "mine",
        kind="ManagementKey",
        permissions=KeyPermissions(
            algo_acl=("algo://*",), allow_data=True, allow_algo_management=True
        ),
        user="lead",
    )
    with Algorium(management.value, server.api) as client:
        assert client.organizations.add_member("crew", "hand", role="executor")
        assert not client.organizations.add_member("crew", "hand", role="member")
        members = [(each.username, each.role) for each in client.organizations.members("crew")]
        permissions = KeyPermissions(algo_acl=("algo://demo/*",), allow_data=True)
        made = client.keys.create(
            "nightly",
            permissions=permissions,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
        rotated = client.keys.rotate(made.key_id, grace_s=0)
        listed = {each.label: each for each in client.keys.list()}
        client.organizations.update("crew", url="https://crew.example.com")
        with pytest.raises(algorium.NotAuthorized):
            list(client.users.list())
    with Algorium(rotated.value, server.api) as client:
        me = client.users.me()
        hello = client.algo("demo/Hello").pipe("crew").result
    with Algorium(made.value, server.api) as client, pytest.raises(algorium.NotAuthenticated):
        client.algo("demo/Hello").pipe("crew")

    assert members == [("hand", "member"), ("lead", "owner")]
    assert (rotated.label, rotated.permissions) == ("nightly", permissions)
    assert listed["nightly"].value == ""
    assert (me.username, me.fullname, hello) == ("lead", "The Lead", "Hello crew")
    assert admin.organizations.get("crew").url == "https://crew.example.com"
    assert hand.username in [each.username for each in admin.users.list(page=2)]
    assert "crew" in [each.name for each in admin.organizations.list(page=1)]
    admin.organizations.remove_member("crew", "hand")
    admin.users.delete("hand")
    with pytest.raises(algorium.NotFound):
        admin.users.get("hand")


def test_administrators_set_what_holds_for_all(server: RunningServer) -> None:
    async def work() -> None:
        key = server.credentials["admin_api_key"]
        async with AsyncAlgorium(key, server.api) as client:
            admin = client.admin
            await admin.invite("crew-2026", comments="for the crew")
            assert [each.code for each in await admin.invites()] == ["crew-2026"]
            await admin.delete_invite("crew-2026")
            await admin.invite("a-code-that-nobody-can-guess")
            stranger = AsyncAlgorium(api_address=server.api)
            signed_up = await stranger.users.sign_up(
                *("a-code-that-nobody-can-guess", "guest", "guest@example.com"),
                "correct horse battery staple",
            )
            await stranger.aclose()
            assert signed_up.api_key
            await client.users.delete("guest")
            await admin.delete_invite("a-code-that-nobody-can-guess")
            await admin.set_feature("dark-theme-enabled", enabled=True)
            assert (await admin.features())["dark-theme-enabled"]
            await admin.set_feature("dark-theme-enabled", enabled=False)
            for name in ("a", "b", "c"):
                await admin.set_frontend_entry(f"crew-{name}", name)
            entries = [each async for each in admin.frontend_entries(page=1)]
            assert [each.value for each in entries] == ["a", "b", "c"]
            for entry in entries:
                await admin.delete_frontend_entry(entry.name)
            made = await admin.create_organization_type("crew")
            assert made in await client.organizations.types()
            await admin.delete_organization_type("crew")
            viewer = await client.users.create("viewer", "viewer@example.com")
            await admin.grant("viewer", "cluster_viewer")
            await admin.revoke("viewer", "cluster_viewer")
            await client.users.delete(viewer.username)
            assert [each.scm_id for each in await client.scms.list()] == ["internal"]
            assert (await admin.host())["level"]
            own = await admin.set_quotas("admin", {"calls_per_minute": 100_000})
            assert own.quotas["calls_per_minute"].limit == 100_000
            assert "admin" in [each async for each in admin.limited_accounts()]
            await admin.reset_quotas("admin")
            assert (await client.users.quotas()).account == "admin"
            granted = admin.audit(target="user:viewer", page=1)
            assert {each.actor async for each in granted} == {"admin"}

    asyncio.run(work())


def example_of(described: object) -> str:
    _, _, example = inspect.cleandoc(str(described.__doc__)).partition("\nExample:\n")
    return textwrap.dedent(example)


def examples() -> Iterator[str]:
    for cls in (
        algorium.Users,
        algorium.Organizations,
        algorium.Keys,
        algorium.Scms,
        algorium.Sessions,
        algorium.Notifications,
        algorium.EventListeners,
        algorium.PackageSources,
        algorium.SecretProviders,
        algorium.Registries,
        algorium.Reservations,
        algorium.Reports,
        algorium.Admin,
    ):
        yield example_of(cls)


def test_the_examples_of_docstrings_run(
    admin: Algorium, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.users.create("jane", "jane@example.com")
    admin.organizations.create("lab", label="L", contact_name="L", email="lab@example.com")
    names = {"client": admin, **{name: getattr(algorium, name) for name in algorium.__all__}}
    for example in examples():
        exec(compile(example, "example", "exec"), dict(names))
    admin.admin.set_feature("algorithm-errors", enabled=True)

    assert "admin owner\n" in capsys.readouterr().out


def test_many_calls_at_a_time(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    with Algorium(server.key, server.api) as client:
        found = client.algo("util/Echo").map(range(200), concurrency=16)
        exec(example_of(algorium.AlgorithmHandle.map), {"client": client})

        assert [response.result for response in found] == list(range(200))
    assert capsys.readouterr().out == "Hello Ada\nHello Grace\n"


def test_keys_and_organizations_from_the_shell(
    server: RunningServer,
    admin: Algorium,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ALGORITHMIA_API", server.api)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", server.credentials["admin_api_key"])

    def algo(*words: str) -> str:
        code = main(words)
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    shown = json.loads(algo("whoami", "--json"))
    key = algo("keys", "create", "shell", "--algo", "demo/*", "--days", "2").strip()
    (listed,) = [
        each for each in json.loads(algo("keys", "list", "--json")) if each["label"] == "shell"
    ]
    other = json.loads(algo("keys", "rotate", listed["key_id"], "--grace-days", "0", "--json"))
    algo("keys", "delete", other["key_id"])
    admin.organizations.create("shelf", label="S", contact_name="S", email="s@example.com")
    admin.users.create("shellfish", "shellfish@example.com")
    algo("orgs", "add-member", "shelf", "shellfish", "--role", "executor")
    members = algo("orgs", "members", "shelf").splitlines()
    algo("orgs", "remove-member", "shelf", "shellfish")

    assert shown["username"] == server.credentials["username"]
    assert key.startswith("sim")
    assert key not in json.dumps(listed)
    assert other["permissions"]["algo_acl"] == ["algo://demo/*"]
    assert other["key_id"] not in algo("keys", "list")
    assert [line.split() for line in members] == [
        ["user", "role"],
        [shown["username"], "owner"],
        ["shellfish", "executor"],
    ]
    assert "type     basic" in algo("orgs", "show", "shelf")
    assert "shelf" in algo("orgs", "list")
    assert main(["keys", "create", "x", "--kind", "odd"]) == 2
    assert "--kind knows algorithm, management, admin" in capsys.readouterr().err
