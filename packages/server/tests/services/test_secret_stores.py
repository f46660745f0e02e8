"""From secrets to values: sealed here, or kept by stand-ins for what keeps them elsewhere."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import rows
from stand_in_key_vault import CLIENT_SECRET, StandInKeyVault
from stand_in_vault import TOKEN, StandInVault

from algorium_server.domain.errors import (
    InternalError,
    InvalidInput,
    PathNotFound,
    SecretInvalid,
    SecretProviderDisabled,
    SecretProviderFailed,
)
from algorium_server.domain.limits import SECRET_FRESH_S
from algorium_server.domain.secrets import (
    INTERNAL_PROVIDER_ID,
    Place,
    SecretProvider,
    StoredSecret,
)
from algorium_server.sealing import Seal
from algorium_server.services.files.reaching import Reach, parse_places
from algorium_server.services.people.secret_stores import SecretStores

PLACE = Place(algorithm_id="a1", secret_id="s1", secret_key="API_TOKEN")


class Clock:
    """Time that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def vault() -> Iterator[StandInVault]:
    with StandInVault() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(tmp_path: Path, clock: Clock) -> SecretStores:
    reach = Reach(parse_places("127.0.0.1, localhost"))
    return SecretStores(Seal.open(tmp_path), reach, clock_s=clock)


def done(stores: SecretStores, work: Callable[[], Awaitable[object]]) -> object:
    async def run() -> object:
        try:
            return await work()
        finally:
            await stores.close()

    return asyncio.run(run())


def provider(stores: SecretStores, kind: str = "Vault", **configuration: str) -> SecretProvider:
    provider_id = str(uuid4())
    return SecretProvider(
        provider_id=provider_id,
        name="corp",
        description="",
        module_name="",
        factory_class_name=kind,
        interface_version="1.0",
        is_enabled=True,
        is_default=False,
        sealed=stores.sealed_configuration(provider_id, configuration),
        revision=str(uuid4()),
        created_at=rows.NOW,
        modified_at=rows.NOW,
    )


def at(stores: SecretStores, vault: StandInVault, path: str, **more: str) -> SecretProvider:
    given = {"vault_addr": vault.address, "vault_token": TOKEN, "vault_secret_path": path}
    return provider(stores, **{**given, **more})


def internal() -> SecretProvider:
    return SecretProvider(
        provider_id=INTERNAL_PROVIDER_ID,
        name="internal",
        description="",
        module_name="",
        factory_class_name="",
        interface_version="",
        is_enabled=True,
        is_default=True,
        sealed=b"",
        revision="",
        created_at=rows.NOW,
        modified_at=rows.NOW,
    )


def secret(of: SecretProvider, key: str = "API_TOKEN") -> StoredSecret:
    return StoredSecret(
        secret_id="s1",
        algorithm_id="a1",
        provider_id=of.provider_id,
        secret_key=key,
        short_name="",
        description="",
        value_id=str(uuid4()),
        sealed=b"",
        created_at=rows.NOW,
        modified_at=rows.NOW,
    )


@pytest.mark.parametrize(
    ("path", "more", "entry"),
    [
        ("secret/algorium", {}, "secret/algorium/a1/API_TOKEN"),
        ("/secret/data/algorium/", {}, "secret/algorium/a1/API_TOKEN"),
        ("secret", {}, "secret/a1/API_TOKEN"),
        ("old/some where", {}, "old/some%20where/a1/API_TOKEN"),
        ("secret/x", {"vault_kv_version": "2"}, "secret/x/a1/API_TOKEN"),
        ("old", {"vault_kv_version": "1", "vault_namespace": "team"}, "old/a1/API_TOKEN"),
    ],
)
def test_a_vault_keeps_a_value_in_either_version_of_its_engine(
    stores: SecretStores, vault: StandInVault, path: str, more: dict[str, str], entry: str
) -> None:
    there = at(stores, vault, path, **more)

    async def keep() -> tuple[str, dict]:
        await stores.try_out(there)
        await stores.write(there, PLACE, "ünd 'quoted'")
        found = await stores.read(there, PLACE), dict(vault.entries)
        await stores.remove(there, PLACE)
        await stores.remove(there, PLACE)
        with pytest.raises(PathNotFound):
            await stores.read(there, PLACE)
        return found

    found = done(stores, keep)

    assert found == ("ünd 'quoted'", {entry: {"value": "ünd 'quoted'"}})
    assert vault.entries == {}
    looks = [path for _, path in vault.asked if path.startswith("sys/")]
    asked_by = 0 if "vault_kv_version" in more else 2  # the trial, and once for all that follow
    assert len(looks) == asked_by


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"vault_secret_path": "nothing/here"}, "refuses the token"),
        ({"vault_token": "hvs.wrong"}, "refuses the token"),
        ({"vault_addr": "http://127.0.0.1:1"}, "does not answer"),
    ],
)
def test_a_vault_that_fails_is_told_with_its_words_and_without_its_token(
    stores: SecretStores, vault: StandInVault, changed: dict[str, str], words: str
) -> None:
    there = at(stores, vault, changed.pop("vault_secret_path", "secret"), **changed)
    with pytest.raises(SecretProviderFailed) as failed:
        done(stores, lambda: stores.try_out(there))

    assert "'corp'" in failed.value.message
    assert words in failed.value.message
    for secret_text in (TOKEN, "hvs.wrong"):
        assert secret_text not in failed.value.message + failed.value.detail


def test_a_vault_is_where_the_operator_allows_it(stores: SecretStores, vault: StandInVault) -> None:
    for address in ("http://169.254.169.254", "http://localhost:80", "file:///etc/passwd", "x"):
        there = at(stores, vault, "secret", vault_addr=address)
        if address == "http://localhost:80":
            continue  # allowed here: it is 127.0.0.1
        with pytest.raises(InvalidInput):
            done(stores, lambda: stores.try_out(there))  # noqa: B023 - called at once
    assert vault.asked == []


def test_a_value_from_outside_is_read_once_a_minute(
    stores: SecretStores, vault: StandInVault, clock: Clock
) -> None:
    there = at(stores, vault, "secret")
    wanted = [secret(there)]
    providers = {there.provider_id: there}

    async def read() -> list[str]:
        found = []
        for text, wait_s in (("one", 0), ("two", 1), ("three", SECRET_FRESH_S), ("four", 0)):
            vault.entries["secret/a1/API_TOKEN"] = {"value": text}
            clock.now += wait_s
            if text == "four":
                stores.forget("a1")
            found.append((await stores.values(wanted, providers))["API_TOKEN"])
        return found

    assert done(stores, read) == ["one", "one", "three", "four"]


def test_a_sealed_value_opens_in_its_own_row_only(stores: SecretStores) -> None:
    mine = secret(internal())
    mine = replace(mine, sealed=stores.sealed("s3cret", secret=mine))

    assert b"s3cret" not in mine.sealed
    assert stores.unsealed(mine) == "s3cret"
    for moved in (
        replace(mine, algorithm_id="a2"),
        replace(mine, secret_id="s2"),
        replace(mine, value_id="v2"),
    ):
        with pytest.raises(InternalError):
            stores.unsealed(moved)


def test_values_come_all_or_not_at_all(stores: SecretStores, vault: StandInVault) -> None:
    here, there = internal(), at(stores, vault, "secret")
    mine, theirs = secret(here, "A"), secret(there, "B")
    mine = replace(mine, sealed=stores.sealed("x", secret=mine))
    known = {each.provider_id: each for each in (here, there)}

    def read(*wanted: StoredSecret, **changed: SecretProvider) -> object:
        return done(stores, lambda: stores.values(wanted, {**known, **changed}))

    with pytest.raises(SecretProviderFailed, match="has no value for B"):
        read(mine, theirs)
    with pytest.raises(SecretProviderFailed, match="the value of A cannot be opened"):
        read(replace(mine, sealed=b"\x01"))
    vault.entries["secret/a1/B"] = {"value": "y"}
    assert read(mine, theirs) == {"A": "x", "B": "y"}
    with pytest.raises(SecretProviderDisabled):
        read(mine, theirs, **{there.provider_id: replace(there, is_enabled=False)})
    vault.entries["secret/a1/B"] = {"other": "y"}
    stores.forget("a1")
    with pytest.raises(SecretProviderFailed, match="no text in its field"):
        read(mine, theirs)
    vault.entries["secret/a1/B"] = {"value": "y" * 100_000}
    with pytest.raises(SecretInvalid, match="together"):
        read(mine, theirs)


def test_many_values_are_had_at_once_from_a_provider_that_is_new(
    stores: SecretStores, vault: StandInVault
) -> None:
    # By its name, so that opening it takes a moment.
    there = at(stores, vault, "secret", vault_addr=vault.address.replace("127.0.0.1", "localhost"))
    wanted = [secret(there, f"KEY_{number}") for number in range(12)]
    for each in wanted:
        vault.entries[f"secret/a1/{each.secret_key}"] = {"value": each.secret_key.lower()}

    found = done(stores, lambda: stores.values(wanted, {there.provider_id: there}))

    assert found == {each.secret_key: each.secret_key.lower() for each in wanted}


def test_what_was_only_tried_out_is_not_kept_open(
    stores: SecretStores, vault: StandInVault
) -> None:
    kept = at(stores, vault, "secret")
    tried = [at(stores, vault, "secret"), at(stores, vault, "nothing/here")]

    async def work() -> None:
        await stores.write(kept, PLACE, "x")
        await stores.try_out(tried[0])
        with pytest.raises(SecretProviderFailed):
            await stores.try_out(tried[1])
        assert set(stores._opened) == {kept.provider_id}
        await stores.leave(kept.provider_id)
        assert not stores._opened

    done(stores, work)


def test_a_key_vault_keeps_values_for_a_client(tmp_path: Path) -> None:
    with StandInKeyVault() as vault:
        reach = Reach(parse_places("127.0.0.1"))
        stores = SecretStores(Seal.open(tmp_path), reach, azure_authority=vault.address)
        given = {
            "vault_url": vault.address,
            "client_id": "client",
            "client_secret": CLIENT_SECRET,
            "tenant_id": "tenant",
        }
        there = provider(stores, "AzureKeyVault", **given)
        wrong = provider(stores, "AzureKeyVault", **{**given, "client_secret": "wrong-secret"})

        async def keep() -> str:
            await stores.try_out(there)
            await stores.write(there, PLACE, "kept")
            found = await stores.read(there, PLACE)
            with pytest.raises(SecretProviderFailed, match="invalid_client") as failed:
                await stores.try_out(wrong)
            assert "wrong-secret" not in failed.value.message
            assert list(vault.entries) == ["algorium-s1"]
            await stores.remove(there, PLACE)
            return found

        assert done(stores, keep) == "kept"
        assert vault.entries == {}
        assert vault.tokens == 2  # a trial has connections, and a token, of its own
