"""Secrets of algorithms: where they arrive, where they must not, and how fast they change."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from processes import processes_with
from projects import write_examples
from running import ALGORIUM, RunningServer
from searching import files_holding
from waiting import wait_until

from algorium_server.domain.secrets import INTERNAL_PROVIDER_ID

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from stand_in_vault import TOKEN, StandInVault

SEEN_S = 30

KEEPER = """
import os, pathlib, time
born = time.monotonic_ns()
print("variables at import:", sorted(os.environ))

def apply(input):
    if isinstance(input, (int, float)):
        time.sleep(input)
        return os.environ.get("TOKEN")
    if input == "born":
        return born
    if input == "commands":
        return [p.read_bytes().decode() for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")]
    if input == "fail":
        raise ValueError("as told")
    return os.environ.get(input)
"""
OTHER = """
import os

def apply(input):
    return dict(os.environ)
"""
SOURCES: dict[str, str | Path] = {"keep/Keeper": KEEPER, "keep/Other": OTHER, "keep/Spare": KEEPER}


class Site(RunningServer):
    """A server with algorithms that tell what they find."""

    stranger = ""

    @property
    def owner(self) -> str:
        """A key of the owner of the organization that owns the algorithms."""
        return self.key

    def ask(self, method: str, path: str, key: str = "", **body: Any) -> httpx2.Response:
        return httpx2.request(
            method,
            f"{self.api}/v1/{path}",
            headers={"Authorization": f"Simple {key or self.owner}"},
            json=body or None,
            timeout=60,
        )

    def id_of(self, ref: str) -> str:
        answer = self.ask("GET", f"algorithms/{ref}")
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["id"]
        return found

    def result(self, ref: str, value: Any) -> Any:
        answer = httpx2.post(
            f"{self.api}/v1/algo/{ref}",
            headers={"Authorization": f"Simple {self.owner}"},
            json=value,
            timeout=60,
        ).json()
        assert "result" in answer, answer
        return answer["result"]

    def set(self, ref: str, name: str, value: str | None, **fields: Any) -> dict[str, Any]:
        answer = self.ask("POST", f"algorithms/{ref}/secrets", **described(name, value, **fields))
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def forget(self, ref: str) -> None:
        for each in self.ask("GET", f"algorithms/{ref}/secrets").json()["secrets"]:
            gone = self.ask("DELETE", f"algorithms/{ref}/secrets/{each['id']}")
            assert gone.status_code == 204, gone.text


def described(name: str, value: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "short_name": name.lower(),
        "description": " ",
        "secret_key": name,
        **({} if value is None else {"secret_value": value}),
        **fields,
    }


def code_of(answer: httpx2.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["error"]["code"]


def check_holders(value: str) -> int:
    """Check that only slots have *value* in their environment; returns how many do."""
    holders = processes_with(value)
    for pid in holders:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"algorium_runtime" in command
        assert b"zygote" not in command
        assert value.encode() not in command
    return len(holders)


@pytest.fixture(scope="module")
def vault() -> Iterator[StandInVault]:
    with StandInVault() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, vault: StandInVault) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("secrets")
    examples = write_examples(place / "examples", SOURCES)
    options = ("--demo", "--examples-dir", str(examples), "--log-level", "debug")
    allowed = ("--connector-allow", vault.address.removeprefix("http://"))
    with Site(place / "home", *options, *allowed) as running:
        running.stranger = running.add_user("stranger")
        yield running


@pytest.fixture(autouse=True)
def clean(site: Site) -> Iterator[None]:
    yield
    site.forget("keep/Keeper")


def test_a_secret_reaches_the_next_call_and_changes_with_it(site: Site) -> None:
    assert site.result("keep/Keeper", "TOKEN") is None
    made = site.set("keep/Keeper", "TOKEN", "one\nünd=zwei: 'x' \"y\" $HOME /tmp/a:/tmp/b")
    first = site.result("keep/Keeper", "TOKEN")
    path = f"algorithms/{site.id_of('keep/Keeper')}/secrets"
    changed = site.ask("PUT", f"{path}/{made['id']}", **described("TOKEN", "two")).json()
    second = site.result("keep/Keeper", "TOKEN")
    renamed = site.ask("PUT", f"{path}/{made['id']}", short_name="new", description="x").json()
    third = site.result("keep/Keeper", "TOKEN")
    listed = site.ask("GET", path).json()
    others = site.result("keep/Other", None)
    assert site.ask("DELETE", f"{path}/{made['id']}").status_code == 204
    last = site.result("keep/Keeper", "TOKEN")

    assert first == "one\nünd=zwei: 'x' \"y\" $HOME /tmp/a:/tmp/b"
    assert (second, third, last) == ("two", "two", None)
    assert set(made) == {
        "id",
        "short_name",
        "description",
        "secret_key",
        "owner_type",
        "owner_id",
        "provider_id",
        "default_secret_value_id",
        "created",
        "modified",
    }
    assert made["owner_id"] == site.id_of("keep/Keeper")
    assert made["provider_id"] == INTERNAL_PROVIDER_ID
    assert changed["default_secret_value_id"] != made["default_secret_value_id"]
    assert renamed["default_secret_value_id"] == changed["default_secret_value_id"]
    assert listed["secrets"] == listed["results"] == [renamed]
    assert "TOKEN" not in others


def test_a_busy_slot_ends_its_call_with_what_it_had(site: Site) -> None:
    made = site.set("keep/Keeper", "TOKEN", "old")
    found: list[Any] = []
    calling = threading.Thread(target=lambda: found.append(site.result("keep/Keeper", 3)))
    born = site.result("keep/Keeper", "born")
    calling.start()
    wait_until(
        lambda: site.result("keep/Keeper", "born") != born,
        timeout_s=SEEN_S,
        what="the call is in the slot that there was",
    )
    path = f"algorithms/keep/Keeper/secrets/{made['id']}"
    assert site.ask("PUT", path, **described("TOKEN", "new")).status_code == 200
    now = site.result("keep/Keeper", "TOKEN")
    calling.join()

    assert (now, found) == ("new", ["old"])


def test_nothing_fails_while_a_secret_changes_under_load(site: Site) -> None:
    made = site.set("keep/Keeper", "TOKEN", "0")
    path = f"algorithms/keep/Keeper/secrets/{made['id']}"
    newest, seen, wrong = 0, 0, []
    is_over = threading.Event()

    def call() -> None:
        nonlocal seen
        while not is_over.is_set():
            least = newest
            value = int(site.result("keep/Keeper", 0.01))
            seen += 1
            if value < least:
                wrong.append((value, least))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for number in range(1, 6):
        answer = site.ask("PUT", path, **described("TOKEN", str(number)))
        assert answer.status_code == 200, answer.text
        newest = number
        before = seen
        wait_until(lambda: seen >= before + 4, timeout_s=30)  # noqa: B023 - asked in this round
    is_over.set()
    for caller in callers:
        caller.join()

    assert wrong == []
    assert site.result("keep/Keeper", "TOKEN") == "5"


def test_a_value_is_nowhere_but_in_slots_of_its_algorithm(site: Site) -> None:
    value = f"canary-{uuid4()}"
    made = site.set("keep/Keeper", "TOKEN", value)
    path = f"algorithms/{made['owner_id']}"
    assert site.result("keep/Keeper", "TOKEN") == value
    commands = site.result("keep/Keeper", "commands")
    site.result("keep/Other", None)
    failed = site.ask("POST", "algo/keep/Keeper", text="x")  # an input that it looks up: fails
    again = site.ask("POST", f"{path}/secrets", **described("TOKEN", f"{value}-2"))
    wrong = site.ask("POST", f"{path}/secrets", secret_value=value, short_name=1)
    taken = site.ask("POST", f"{path}/secrets", **described("PATH", value))
    asked = [
        site.ask("GET", f"{path}/secrets"),
        site.ask("GET", "algorithms/keep/Keeper"),
        site.ask("GET", "algorithms/keep/Keeper/errors"),
        site.ask("GET", "secret-provider"),
    ]
    compiled = site.ask("POST", "algorithms/keep/Keeper/compile")
    builds = site.ask("GET", "algorithms/keep/Keeper/builds").json()["results"]
    logs = [
        site.ask("GET", f"algorithms/keep/Keeper/builds/{each['build_id']}/logs").text
        for each in builds
    ]

    assert [code_of(each) for each in (again, wrong, taken)] == [
        (400, 8001),
        (400, 8000),
        (400, 8001),
    ]
    assert "error" in failed.json()
    texts = [each.text for each in (failed, again, wrong, taken, *asked, compiled)]
    assert not any(value in text for text in (*texts, *logs, *commands))
    assert any("variables at import" in log for log in logs)
    assert not any("TOKEN" in log for log in logs)
    assert not any(value in line for line in site.lines)
    assert files_holding(site.home, value) == []
    check_holders(value)


def test_only_who_may_change_an_algorithm_manages_its_secrets(site: Site) -> None:
    made = site.set("keep/Keeper", "TOKEN", "one")
    path = f"algorithms/{made['owner_id']}"
    admin = site.credentials["admin_api_key"]
    refused = [
        site.ask("GET", f"{path}/secrets", site.stranger),
        site.ask("POST", f"{path}/secrets", site.stranger, **described("MINE", "x")),
        site.ask("PUT", f"{path}/secrets/{made['id']}", site.stranger, **described("TOKEN", "x")),
        site.ask("DELETE", f"{path}/secrets/{made['id']}", site.stranger),
        site.ask("POST", f"{path}/recycle", site.stranger),
        site.ask("GET", "admin/secret-provider"),
        site.ask("POST", "admin/secret-provider", name="x", factoryClassName="Vault"),
        site.ask("DELETE", f"admin/secret-provider/{INTERNAL_PROVIDER_ID}"),
    ]

    assert [each.status_code for each in refused] == [403] * len(refused)
    assert site.ask("GET", f"{path}/secrets", admin).json()["secrets"] == [made]
    assert site.ask("POST", f"{path}/recycle", admin).status_code == 204
    assert site.ask("GET", "secret-provider", "simNONE").status_code == 401
    assert site.result("keep/Keeper", "TOKEN") == "one"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"short_name": None}, 8000),
        ({"secret_value": None}, 8004),
        ({"secret_value": ""}, 8004),
        ({"secret_value": "a\0b"}, 8001),
        ({"secret_value": "x" * 32_769}, 8001),
        ({"secret_key": "1A"}, 8001),
        ({"secret_key": "A-B"}, 8001),
        ({"secret_key": "LD_PRELOAD"}, 8001),
        ({"secret_key": "PYTHONPATH"}, 8001),
        ({"secret_key": "ALGORITHMIA_API"}, 8001),
        ({"secret_key": None}, 8000),
        ({"short_name": "a\nb"}, 8001),
        ({"owner_type": "user"}, 8001),
        ({"owner_id": str(uuid4())}, 8001),
        ({"provider_id": str(uuid4())}, 8006),
        ({"provider_id": "x\0"}, 8006),
    ],
)
def test_what_cannot_be_a_secret_is_refused(
    site: Site, fields: dict[str, str | None], code: int
) -> None:
    body = {**described("TOKEN", "x"), **fields}
    sent = {name: value for name, value in body.items() if value is not None}
    answer = site.ask("POST", "algorithms/keep/Keeper/secrets", **sent)

    assert code_of(answer) == (404 if code == 8006 else 400, code)


def test_a_secret_keeps_its_name_and_others_have_none(site: Site) -> None:
    made = site.set("keep/Keeper", "TOKEN", "x")
    path = "algorithms/keep/Keeper/secrets"
    answers = [
        site.ask("PUT", f"{path}/{made['id']}", **described("RENAMED", "x")),
        site.ask("PUT", f"{path}/{uuid4()}", **described("TOKEN", "x")),
        site.ask("DELETE", f"algorithms/keep/Other/secrets/{made['id']}"),
        site.ask("PUT", f"{path}/{made['id']}"),
    ]

    assert [code_of(each) for each in answers] == [
        (400, 8001),
        (404, 8008),
        (404, 8008),
        (400, 8000),
    ]


def test_all_secrets_together_fit_into_a_slot_or_are_refused(site: Site) -> None:
    for number in range(3):
        site.set("keep/Keeper", f"LONG_{number}", f"{number}" * 30_000)
    refused = site.ask(
        "POST", "algorithms/keep/Keeper/secrets", **described("ONE_MORE", "x" * 9000)
    )
    found = [site.result("keep/Keeper", f"LONG_{number}") for number in range(3)]

    assert code_of(refused) == (400, 8001)
    assert found == [f"{number}" * 30_000 for number in range(3)]


def test_recycled_slots_load_anew(site: Site) -> None:
    born = site.result("keep/Keeper", "born")
    assert site.result("keep/Keeper", "born") == born
    spare = site.result("keep/Spare", "born")
    answer = site.ask("POST", "algorithms/keep/Keeper/recycle")

    assert (answer.status_code, answer.content) == (204, b"")
    assert site.result("keep/Keeper", "born") != born
    assert site.result("keep/Spare", "born") == spare


def test_the_internal_provider_stays_as_it_is(site: Site) -> None:
    admin = site.credentials["admin_api_key"]
    path = f"secret-provider/{INTERNAL_PROVIDER_ID}"
    listed = site.ask("GET", "secret-provider").json()
    named = {"name": "x", "factoryClassName": "Vault"}
    answers = [
        site.ask("POST", f"admin/{path}", admin, **named),
        site.ask("DELETE", f"admin/{path}", admin),
        site.ask("POST", f"admin/plugins/{path}", admin),
        site.ask("GET", f"admin/plugins/{path}", admin),
        site.ask("GET", f"admin/secret-provider/{uuid4()}", admin),
        site.ask("POST", "admin/secret-provider", admin, name="x", factoryClassName="Other"),
    ]

    assert [(each["name"], each["isDefault"], each["isEnabled"]) for each in listed] == [
        ("internal", True, True)
    ]
    assert [code_of(each)[1] for each in answers] == [8005, 8013, 8005, 6001, 8006, 6001]
    assert site.ask("POST", f"admin/plugins/{path}/default", admin).status_code == 204


@pytest.fixture
def provider(site: Site, vault: StandInVault) -> Iterator[dict[str, Any]]:
    made = site.ask(
        "POST", "admin/secret-provider", site.credentials["admin_api_key"], **vault_at(vault)
    )
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    try:
        yield found
    finally:
        vault.is_sealed = False
        site.forget("keep/Keeper")
        gone = site.ask(
            "DELETE", f"admin/secret-provider/{found['id']}", site.credentials["admin_api_key"]
        )
        assert gone.status_code == 204, gone.text


def vault_at(vault: StandInVault, path: str = "secret/algorium", **more: str) -> dict[str, Any]:
    return {
        "name": "corp vault",
        "description": "",
        "moduleName": "vault",
        "factoryClassName": "com.algorithmia.plugin.VaultSecretProviderFactory",
        "interfaceVersion": "1.0",
        "isEnabled": True,
        "isDefault": False,
        "configuration": {
            "vault_addr": vault.address,
            "vault_token": TOKEN,
            "vault_secret_path": path,
            **more,
        },
    }


def test_values_are_kept_in_a_vault(
    site: Site, vault: StandInVault, provider: dict[str, Any]
) -> None:
    made = site.set("keep/Keeper", "TOKEN", "from the vault", provider_id=provider["id"])
    kept = dict(vault.entries)
    found = site.result("keep/Keeper", "TOKEN")
    path = f"algorithms/keep/Keeper/secrets/{made['id']}"
    assert site.ask("PUT", path, **described("TOKEN", "another one")).status_code == 200
    changed = site.result("keep/Keeper", "TOKEN")
    in_use = site.ask(
        "DELETE", f"admin/secret-provider/{provider['id']}", site.credentials["admin_api_key"]
    )
    assert site.ask("DELETE", path).status_code == 204

    assert kept == {f"secret/algorium/{made['owner_id']}/TOKEN": {"value": "from the vault"}}
    assert (found, changed) == ("from the vault", "another one")
    assert code_of(in_use) == (400, 8010)
    assert vault.entries == {}
    assert site.result("keep/Keeper", "TOKEN") is None
    assert b"from the vault" not in (site.home / "algorium.db").read_bytes()
    assert "configuration" not in provider
    assert not any(TOKEN in line for line in site.lines)


def test_a_vault_that_fails_is_named_and_its_token_is_not(
    site: Site, vault: StandInVault, provider: dict[str, Any]
) -> None:
    admin = site.credentials["admin_api_key"]
    made = site.set("keep/Keeper", "TOKEN", "x", provider_id=provider["id"])
    vault.is_sealed = True
    path = "algorithms/keep/Keeper/secrets"
    site.ask("POST", "algorithms/keep/Keeper/recycle")
    called = httpx2.post(
        f"{site.api}/v1/algo/keep/Keeper",
        headers={"Authorization": f"Simple {site.owner}"},
        json="TOKEN",
        timeout=60,
    ).json()["error"]
    answers = [
        site.ask("POST", path, **described("MORE", "x", provider_id=provider["id"])),
        site.ask("DELETE", f"{path}/{made['id']}"),
        site.ask("POST", "admin/secret-provider", admin, **vault_at(vault)),
    ]
    vault.is_sealed = False
    answers += [
        site.ask("POST", "admin/secret-provider", admin, **vault_at(vault, "nothing/here")),
        site.ask("POST", "admin/secret-provider", admin, **vault_at(vault, vault_token="wrong")),
        site.ask(
            "POST",
            "admin/secret-provider",
            admin,
            **vault_at(vault, vault_addr="http://10.1.1.1:8200"),
        ),
        site.ask("POST", "admin/secret-provider", admin, **vault_at(vault, more="x")),
    ]
    again = site.result("keep/Keeper", "TOKEN")

    assert called["error_type"] == "LoadingError"
    assert "corp vault" in called["message"]
    assert "sealed" in called["message"]
    assert [code_of(each)[1] for each in answers] == [8009, 8010, 8009, 8009, 8009, 6001, 6001]
    assert not any(TOKEN in each.text for each in answers)
    assert again == "x"


def test_a_read_only_vault_has_its_values_from_others(
    site: Site, vault: StandInVault, provider: dict[str, Any]
) -> None:
    admin = site.credentials["admin_api_key"]
    algorithm_id = site.id_of("keep/Keeper")
    path = "algorithms/keep/Keeper/secrets"
    here = {"provider_id": provider["id"]}
    body = vault_at(vault, "old/algorium", read_only="true")
    replaced = site.ask("POST", f"admin/secret-provider/{provider['id']}", admin, **body)
    missing = site.ask("POST", path, **described("TOKEN", None, **here))
    vault.entries[f"old/algorium/{algorithm_id}/TOKEN"] = {"value": "put there"}
    refused = site.ask("POST", path, **described("TOKEN", "x", **here))
    made = site.set("keep/Keeper", "TOKEN", None, **here)
    found = site.result("keep/Keeper", "TOKEN")
    edited = site.ask("PUT", f"{path}/{made['id']}", **described("TOKEN", "x"))
    vault.entries[f"old/algorium/{algorithm_id}/TOKEN"] = {"value": "changed there"}
    assert site.ask("POST", "algorithms/keep/Keeper/recycle").status_code == 204
    changed = site.result("keep/Keeper", "TOKEN")
    site.forget("keep/Keeper")

    assert replaced.status_code == 200, replaced.text
    assert [code_of(each) for each in (missing, refused, edited)] == [
        (400, 8004),
        (400, 8003),
        (400, 8014),
    ]
    assert (found, changed) == ("put there", "changed there")
    assert vault.entries == {f"old/algorium/{algorithm_id}/TOKEN": {"value": "changed there"}}
    vault.entries.clear()


def test_a_disabled_provider_takes_and_gives_nothing(
    site: Site, vault: StandInVault, provider: dict[str, Any]
) -> None:
    admin = site.credentials["admin_api_key"]
    at = f"admin/secret-provider/{provider['id']}"
    site.set("keep/Keeper", "TOKEN", "x", provider_id=provider["id"])
    assert site.result("keep/Keeper", "TOKEN") == "x"
    assert (
        site.ask(
            "POST", f"admin/plugins/secret-provider/{provider['id']}/default", admin
        ).status_code
        == 204
    )
    listed = site.ask("GET", "secret-provider").json()
    answers = [
        site.ask("DELETE", at, admin),
        site.ask("POST", at, admin, **{**vault_at(vault), "isEnabled": False, "isDefault": True}),
        site.ask("POST", at, admin, **{**vault_at(vault), "isEnabled": False}),
    ]
    internal = f"admin/plugins/secret-provider/{INTERNAL_PROVIDER_ID}/default"
    assert site.ask("POST", internal, admin).status_code == 204
    without = {**vault_at(vault), "isEnabled": False}
    del without["configuration"]
    assert site.ask("POST", at, admin, **without).status_code == 200
    answers += [
        site.ask("POST", f"admin/plugins/secret-provider/{provider['id']}/default", admin),
        site.ask(
            "POST",
            "algorithms/keep/Keeper/secrets",
            **described("B", "x", provider_id=provider["id"]),
        ),
    ]
    called = site.ask("POST", "algo/keep/Keeper", TOKEN="x").json()["error"]

    assert [each["id"] for each in listed] == [provider["id"], INTERNAL_PROVIDER_ID]
    assert [code_of(each)[1] for each in answers] == [8013, 8012, 8011, 8012, 8012]
    assert "disabled" in called["message"]


def test_the_command_line_sets_what_it_reads_and_shows_no_values(
    site: Site, tmp_path: Path
) -> None:
    def algo(*words: str, told: str = "") -> subprocess.CompletedProcess[str]:
        server = {"ALGORITHMIA_API": site.api, "ALGORITHMIA_API_KEY": site.owner}
        return subprocess.run(
            [str(ALGORIUM.with_name("algo")), *words],
            input=told,
            capture_output=True,
            text=True,
            env={**os.environ, **server, "HOME": str(tmp_path)},
            cwd=tmp_path,
            timeout=60,
        )

    (tmp_path / "value").write_text("from a file\n")
    done = [algo("set-secret", "TOKEN", "keep/Keeper", told="piped in\n")]
    first = site.result("keep/Keeper", "TOKEN")
    done += [algo("set-secret", "TOKEN", "keep/Keeper", "--file", "value", "--name", "n")]
    second = site.result("keep/Keeper", "TOKEN")
    born = site.result("keep/Keeper", "born")
    done += [algo("recycle", "keep/Keeper"), algo("secrets", "keep/Keeper", "--json")]
    renewed = site.result("keep/Keeper", "born")
    done += [algo("delete-secret", "TOKEN", "keep/Keeper")]
    refused = algo("set-secret", "PATH", "keep/Keeper", told="x")

    assert [each.returncode for each in done] == [0] * len(done), [each.stderr for each in done]
    assert (first, second) == ("piped in", "from a file")
    assert renewed != born
    (shown,) = json.loads(done[3].stdout)
    assert (shown["variable"], shown["name"]) == ("TOKEN", "n")
    assert not any("from a file" in each.stdout + each.stderr for each in done)
    assert refused.returncode == 1
    assert "PATH" in refused.stderr
    assert site.ask("GET", "algorithms/keep/Keeper/secrets").json()["secrets"] == []


@pytest.mark.network
def test_the_official_client_sets_secrets(site: Site, official: Path) -> None:
    script = Path(__file__).with_name("official_secrets.py")
    done = subprocess.run(
        [str(official), str(script), site.api, site.owner, "keep/Keeper", "TOKEN", "by old code"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert told["providers"][0]["id"] == told["created"]["provider_id"] == INTERNAL_PROVIDER_ID
    assert told["listed"]["secrets"] == [told["created"]]
    assert told["created"]["description"] == " "
    assert site.result("keep/Keeper", "TOKEN") == "by old code"


@pytest.mark.namespaces
def test_forked_slots_have_secrets_and_their_zygote_has_none(site: Site) -> None:
    def starts() -> dict[str, int]:
        found: dict[str, int] = httpx2.get(f"{site.api}/readyz").json()["sandbox"]["starts"]
        return found

    if httpx2.get(f"{site.api}/readyz").json()["sandbox"]["level"] != "full":
        pytest.skip("zygotes need sandbox level full")
    value = f"canary-{uuid4()}"
    site.set("keep/Keeper", "TOKEN", value)

    def is_forked() -> bool:
        before = starts()["zygote"]
        assert site.ask("POST", "algorithms/keep/Keeper/recycle").status_code == 204
        assert site.result("keep/Keeper", "TOKEN") == value
        return starts()["zygote"] > before

    wait_until(is_forked, timeout_s=SEEN_S, what="a slot was forked")
    for entry in os.listdir("/proc"):  # what was forked has it in memory only
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                environ = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            assert value.encode() not in environ


def test_a_secret_outlives_a_kill_and_reaches_cold_slots_of_every_gateway(site: Site) -> None:
    value = f"canary-{uuid4()}"
    made = site.set("keep/Keeper", "TOKEN", "zero")
    path = f"algorithms/keep/Keeper/secrets/{made['id']}"
    assert site.ask("PUT", path, **described("TOKEN", value)).status_code == 200
    site.kill()
    site.options = (*site.options, "--zygotes", "off", "--workers", "2")
    site.start()

    def seen(value: str) -> set[Any]:
        # Each of these calls is a connection of its own, to one gateway or the other.
        return {site.result("keep/Keeper", value) for _ in range(8)}

    def starts() -> dict[str, int]:
        found: dict[str, int] = httpx2.get(f"{site.api}/readyz").json()["sandbox"]["starts"]
        return found

    assert seen("TOKEN") == {value}
    assert check_holders(value) >= 1
    born = seen("born")
    assert site.ask("PUT", path, **described("TOKEN", "two")).status_code == 200
    wait_until(lambda: seen("TOKEN") == {"two"}, timeout_s=SEEN_S)
    assert not born & seen("born")
    born = seen("born")
    assert site.ask("POST", "algorithms/keep/Keeper/recycle").status_code == 204
    wait_until(lambda: not born & seen("born"), timeout_s=SEEN_S)
    assert starts()["zygote"] == 0
