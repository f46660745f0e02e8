"""Secrets, providers and renewals in the database."""

from dataclasses import replace
from uuid import uuid4

import pytest
import rows

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import SecretNotDeleted
from algorium_server.domain.secrets import INTERNAL_PROVIDER_ID, SecretProvider, StoredSecret
from algorium_server.store import accounts, algorithms, changes
from algorium_server.store import secrets as store

JANE = rows.account("jane")
HELLO, OTHER = (rows.algorithm(JANE.account_id, name) for name in ("Hello", "Other"))


def secret(key: str = "TOKEN", **fields) -> StoredSecret:
    values = {
        "secret_id": str(uuid4()),
        "algorithm_id": HELLO.algorithm_id,
        "provider_id": INTERNAL_PROVIDER_ID,
        "secret_key": key,
        "short_name": "ü",
        "description": " ",
        "value_id": str(uuid4()),
        "sealed": b"\x00\xff",
        "created_at": rows.NOW,
        "modified_at": rows.NOW,
    }
    return StoredSecret(**(values | fields))


def provider(**fields) -> SecretProvider:
    values = {
        "provider_id": str(uuid4()),
        "name": "vault",
        "description": "",
        "module_name": "",
        "factory_class_name": "Vault",
        "interface_version": "1.0",
        "is_enabled": True,
        "is_default": False,
        "sealed": b"x",
        "revision": str(uuid4()),
        "created_at": rows.NOW,
        "modified_at": rows.NOW,
    }
    return SecretProvider(**(values | fields))


@pytest.fixture
def run(database, runner):
    async def fill():
        async with database.transaction() as connection:
            await accounts.add_account(connection, JANE)
            for algorithm in (HELLO, OTHER):
                await algorithms.add_algorithm(connection, algorithm)

    def in_transaction(work):
        async def within():
            async with database.transaction() as connection:
                return await work(connection)

        return runner.run(within())

    runner.run(fill())
    return in_transaction


def test_a_variable_is_taken_once_for_each_algorithm(run):
    first = secret()

    assert run(lambda c: store.add_secret(c, first))
    assert not run(lambda c: store.add_secret(c, secret()))
    assert run(lambda c: store.add_secret(c, secret(algorithm_id=OTHER.algorithm_id)))
    assert run(lambda c: store.secrets_of(c, HELLO.algorithm_id)) == [first]
    assert run(store.owners_of_secrets) == {HELLO.algorithm_id, OTHER.algorithm_id}
    assert run(lambda c: store.owners_of_secrets(c, among=[OTHER.algorithm_id])) == {
        OTHER.algorithm_id
    }


def test_who_comes_second_with_a_value_is_told(run):
    first = secret()
    run(lambda c: store.add_secret(c, first))
    new = replace(first, value_id=str(uuid4()), sealed=b"new", short_name="new")

    assert run(lambda c: store.change_secret(c, new, was=first.value_id))
    assert not run(lambda c: store.change_secret(c, new, was=first.value_id))
    found = run(
        lambda c: store.secret(c, algorithm_id=HELLO.algorithm_id, secret_id=first.secret_id)
    )
    assert found == new
    assert (
        run(lambda c: store.secret(c, algorithm_id=OTHER.algorithm_id, secret_id=first.secret_id))
        is None
    )


def test_the_internal_provider_is_there_and_the_default_until_another_one_is(run):
    (internal,) = run(store.providers)
    vault = provider(is_default=True)
    run(lambda c: store.put_provider(c, vault))
    found = run(store.providers)
    run(lambda c: store.set_default_provider(c, INTERNAL_PROVIDER_ID))

    assert internal.is_internal
    assert internal.is_default
    assert [each.provider_id for each in found] == [vault.provider_id, INTERNAL_PROVIDER_ID]
    assert [each.is_default for each in found] == [True, False]
    assert run(store.default_provider).is_internal


def test_a_provider_stays_as_long_as_it_keeps_secrets(run):
    vault = provider()
    kept = secret(provider_id=vault.provider_id)
    run(lambda c: store.put_provider(c, vault))
    run(lambda c: store.add_secret(c, kept))

    with pytest.raises(SecretNotDeleted):
        run(lambda c: store.remove_provider(c, vault.provider_id))
    run(lambda c: store.remove_secret(c, kept.secret_id))
    run(lambda c: store.remove_provider(c, vault.provider_id))
    assert len(run(store.providers)) == 1


def test_renewals_are_found_by_whoever_follows(run):
    before = run(store.newest_renewal)
    assert run(lambda c: store.renew_slots(c, [HELLO.algorithm_id, str(uuid4())])) == [
        HELLO.algorithm_id
    ]
    first = run(lambda c: store.renewals_after(c, before))
    run(lambda c: store.renew_slots(c, [OTHER.algorithm_id]))
    run(lambda c: store.renew_slots(c, [HELLO.algorithm_id]))
    second = run(lambda c: store.renewals_after(c, first[HELLO.algorithm_id]))
    noted = run(lambda c: changes.after(c, before, limit=10))

    assert set(first) == {HELLO.algorithm_id}
    assert set(second) == {HELLO.algorithm_id, OTHER.algorithm_id}
    assert second[HELLO.algorithm_id] > second[OTHER.algorithm_id]
    assert {change.kind for change in noted} == {ChangeKind.SLOTS}


def test_what_belongs_to_a_deleted_algorithm_goes_with_it_and_numbers_go_on(run):
    run(lambda c: store.add_secret(c, secret()))
    run(lambda c: store.renew_slots(c, [HELLO.algorithm_id]))
    seen = run(store.newest_renewal)
    run(lambda c: algorithms.delete_algorithm(c, HELLO.algorithm_id))
    run(lambda c: store.renew_slots(c, [OTHER.algorithm_id]))

    assert run(store.owners_of_secrets) == set()
    assert set(run(lambda c: store.renewals_after(c, seen))) == {OTHER.algorithm_id}
