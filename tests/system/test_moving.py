"""What an account has, exported by one user and imported by another, with the command `algo`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import RunningServer

from algorium import Algorium, KeyPermissions, ReadAcl
from algorium._cli.export_folder import Begun
from algorium.cli import main

ONE = "def apply(input):\n    return 'one'\n"
TWO = "def apply(input):\n    return 'two'\n"


@dataclass(frozen=True, kw_only=True)
class Mover:
    """Somebody with a key, at the shell and with a client."""

    name: str
    client: Algorium
    algo: Callable[..., tuple[int, str, str]]


@pytest.fixture
def admin(server: RunningServer) -> Iterator[Algorium]:
    with Algorium(server.credentials["admin_api_key"], server.api) as client:
        yield client


@pytest.fixture
def mover(
    server: RunningServer,
    admin: Algorium,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Callable[[str], Mover]]:
    monkeypatch.setenv("ALGORITHMIA_API", server.api)
    made: list[Algorium] = []

    def make(name: str) -> Mover:
        admin.users.create(name, f"{name}@example.com")
        permissions = KeyPermissions(
            algo_acl=("algo://*",),
            allow_data=True,
            allow_data_write=True,
            allow_algo_management=True,
        )
        key = admin.keys.create(kind="ManagementKey", permissions=permissions, user=name).value
        client = Algorium(key, server.api)
        made.append(client)

        def algo(*words: str | Path) -> tuple[int, str, str]:
            monkeypatch.setenv("ALGORITHMIA_API_KEY", key)
            code = main([str(word) for word in words])
            return code, *capfd.readouterr()

        return Mover(name=name, client=client, algo=algo)

    yield make
    for each in reversed(made):
        each.close()


def test_everything_moves_to_another_account(
    server: RunningServer, mover: Callable[[str], Mover], tmp_path: Path
) -> None:
    old, new = mover("leaver"), mover("comer")
    folder = tmp_path / "export"
    commits = make_things(old)

    assert old.algo("export", folder, "--quiet")[::2] == (
        0,
        "exported 1 algorithms, 2 collections of leaver\n",
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["is_complete"]
    assert manifest["collections"]["open"] == {"read": ["user://*"]}
    assert "data/open/a.txt" in manifest["files"]

    spoilt = folder / "data/open/a.txt"
    content = spoilt.read_bytes()
    spoilt.write_bytes(b"forged")
    code, _, error = new.algo("import", folder)
    assert (code, "data/open/a.txt is not what was exported" in error) == (1, True)
    spoilt.write_bytes(content)
    code, plan, error = new.algo("import", folder, "--dry-run", "--json")
    assert code == 0, error
    assert [each["name"] for each in json.loads(plan)["results"]] == [
        *("data://.my/closed", "data://.my/open", "comer/Answer")
    ]
    assert not new.client.dir("data://.my/open").exists()

    code, told, error = new.algo("import", folder, "--json")
    assert code == 0, error
    results = {each["name"]: each for each in json.loads(told)["results"]}
    answer = results["comer/Answer"]
    assert answer["done"] == ["created", "source pushed", "published 1.0.0", "published 1.1.0"]
    assert answer["remarks"] == ["set its secrets anew: TOKEN"]
    there = new.client.algorithms("comer/Answer")
    assert there.info().tagline == "Two answers"
    assert there.info().settings["rewriting_enabled"] is False
    assert [each.version and each.version.commit for each in there.versions()] == commits[::-1]
    assert new.client.algo("comer/Answer/1.0.0").pipe("").result == "one"
    assert new.client.file("data://.my/open/a.txt").read() == b"A"
    acl = new.client.dir("data://.my/open").acl()
    assert acl is not None
    assert acl.read is ReadAcl.PUBLIC

    # An export that leaves out something keeps what it had.
    assert old.algo("export", folder, "--no-algorithms", "--quiet")[0] == 0
    again = json.loads((folder / "manifest.json").read_text())
    assert again | {"exported_at": ""} == manifest | {"exported_at": ""}

    # Once more there is nothing to do, and what is there with other content is not lost.
    there.commit({"src/more.py": ""}, message="Go on here")
    there.update(settings={"rewriting_enabled": True})
    new.client.file("data://.my/open/a.txt").put(b"mine")
    code, told, error = new.algo("import", folder, "--json")
    results = {each["name"]: each for each in json.loads(told)["results"]}
    assert (code, results["comer/Answer"]["done"]) == (1, [])
    assert there.info().settings["rewriting_enabled"] is True
    assert "a.txt: here with other content" in results["data://.my/open"]["problems"][0]
    assert new.client.file("data://.my/open/a.txt").read() == b"mine"
    assert new.algo("import", folder, "--no-algorithms", "--overwrite", "--quiet")[0] == 0
    assert new.client.file("data://.my/open/a.txt").read() == b"A"

    # Settings are those of the export only where an import was cut off before it set them.
    assert there.info().settings["rewriting_enabled"] is True
    Begun(folder, server=server.api, account="comer").note("algorithm Answer")
    assert new.algo("import", folder, "--no-data", "--quiet")[0] == 0
    assert there.info().settings["rewriting_enabled"] is False
    assert not (folder / "begun").exists()


def make_things(old: Mover) -> list[Any]:
    """Make an algorithm with two versions and a secret, and two collections."""
    algorithm = old.client.algorithms("leaver/Answer")
    old.client.algorithms.create("leaver/Answer", tagline="Two answers")
    algorithm.secrets.set("TOKEN", "s3cret")
    commits = []
    for source, number in ((ONE, "1.0.0"), (TWO, "1.1.0")):
        changes = {"src/Answer.py": source, "requirements.txt": "", "src/Answer_test.py": ""}
        algorithm.commit(changes, message=number)
        version = algorithm.compile().version
        assert version is not None
        algorithm.publish(number=number, commit=version.commit)
        commits.append(version.commit)
    old.client.dir("data://.my/open").create(ReadAcl.PUBLIC)
    old.client.dir("data://.my/closed").create(ReadAcl.PRIVATE)
    old.client.file("data://.my/open/a.txt").put(b"A")
    return commits


def test_collections_of_an_organization_move_to_a_user(
    mover: Callable[[str], Mover], admin: Algorium, tmp_path: Path
) -> None:
    owner, folder = mover("org_owner"), tmp_path / "export"
    owner_id = admin.users.get("org_owner").user_id
    admin.organizations.create(
        "moving", label="M", contact_name="M", email="m@example.com", owners=[owner_id]
    )
    owner.client.dir("data://moving/plans").create(ReadAcl.PRIVATE)
    owner.client.dir("data://moving/empty").create()
    owner.client.file("data://moving/plans/b.txt").put(b"B")

    assert owner.algo("export", folder, "--organization", "moving")[0] == 0
    owner.client.file("data://moving/plans/b.txt").delete()
    owner.client.file("data://moving/plans/c.txt").put(b"C")
    assert owner.algo("export", folder, "--organization", "moving")[0] == 0
    code, told, error = owner.algo("import", folder, "--json")

    assert code == 0, error
    assert [(each["name"], each["done"]) for each in json.loads(told)["results"]] == [
        ("data://.my/empty", ["created, readable by algorithms of its owner", "0 files copied"]),
        ("data://.my/plans", ["created, readable by its owner only", "1 files copied"]),
    ]
    assert [each.name for each in owner.client.dir("data://.my/plans").files()] == ["c.txt"]


def test_a_namesake_with_a_history_of_its_own_is_left_alone(
    mover: Callable[[str], Mover], tmp_path: Path
) -> None:
    one, other = mover("one_author"), mover("other_author")
    one.client.algorithms.create("one_author/Same")
    other.client.algorithms.create("other_author/Same")
    head = other.client.algorithms("other_author/Same").source().commit

    assert one.algo("export", tmp_path / "x")[0] == 0
    code, _, error = other.algo("import", tmp_path / "x")

    assert (code, "is here with a history of its own" in error) == (1, True), error
    assert other.client.algorithms("other_author/Same").source().commit == head


def test_a_folder_is_not_mistaken(mover: Callable[[str], Mover], tmp_path: Path) -> None:
    one, other = mover("first_mover"), mover("second_mover")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/a").write_text("a")

    code, _, error = one.algo("export", tmp_path / "precious")
    assert (code, "holds something else" in error) == (2, True)
    code, _, error = one.algo("import", tmp_path / "precious")
    assert (code, "is no export" in error) == (2, True)
    assert one.algo("export", tmp_path / "mine")[0] == 0
    code, _, error = other.algo("export", tmp_path / "mine")
    assert (code, "holds what first_mover has" in error) == (2, True)
    nobody = ("--organization", "nobody_here")
    code, _, error = other.algo("import", tmp_path / "mine", "--dry-run", *nobody)
    assert (code, "nobody_here is no organization of yours" in error) == (1, True)
    manifest = tmp_path / "mine/manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"is_complete": False}))
    code, _, error = other.algo("import", tmp_path / "mine")
    assert (code, "was cut off" in error) == (1, True)
    manifest.write_text(json.dumps(told | {"algorithms": ["../../x"]}))
    code, _, error = other.algo("import", tmp_path / "mine")
    assert (code, "is no name of an algorithm" in error) == (1, True)
    manifest.write_text(json.dumps(told | {"format_version": 2}))
    assert other.algo("import", tmp_path / "mine")[0] == 2
    manifest.write_text("[" * 100_000)
    assert other.algo("import", tmp_path / "mine")[0] == 2
