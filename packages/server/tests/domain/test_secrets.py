"""What secrets may be called, hold, and be kept by."""

from dataclasses import replace

import pytest
import rows
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain import authorship
from algorium_server.domain.access import Refused
from algorium_server.domain.authorship import Act
from algorium_server.domain.environments import variables_of
from algorium_server.domain.errors import InvalidInput, SecretInvalid
from algorium_server.domain.identity import (
    ActingAlgorithm,
    KeyKind,
    KeyPermissions,
    Principal,
    Role,
)
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import SECRET_KEY_CHARS_MAX, SECRET_VALUE_BYTES_MAX
from algorium_server.domain.secrets import (
    NEEDED,
    ProviderKind,
    check_configuration,
    check_key,
    check_value,
    is_taken,
    kind_of,
)
from algorium_server.engine import commands, confinement, sandbox

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,100}", fullmatch=True)
VAULT = dict.fromkeys(NEEDED[ProviderKind.VAULT], "x")


@given(names.filter(lambda name: not is_taken(name)))
def test_what_shells_take_for_a_name_is_one(name: str) -> None:
    assert check_key(name) == name


@given(st.text(max_size=20).filter(lambda text: not text.isidentifier() or not text.isascii()))
def test_anything_else_is_none(name: str) -> None:
    with pytest.raises(SecretInvalid):
        check_key(name)


@pytest.mark.parametrize("name", ["path", "LD_PRELOAD", "Pythonpath", "ALGORITHMIA_API_KEY", "A\n"])
def test_names_with_a_meaning_of_their_own_are_refused(name: str) -> None:
    with pytest.raises(SecretInvalid):
        check_key(name)


def test_names_have_an_end() -> None:
    assert check_key("A" * SECRET_KEY_CHARS_MAX)
    with pytest.raises(SecretInvalid):
        check_key("A" * (SECRET_KEY_CHARS_MAX + 1))


def test_no_secret_is_called_like_what_the_platform_sets() -> None:
    ours = {name for each in Language for name in commands.variables(each, "/e")}
    spec = sandbox.SandboxSpec(
        argv=(),
        limits=sandbox.SandboxLimits(memory_bytes=1, processes=1, open_files=1, tmp_bytes=1),
    )
    ours |= set(variables_of("/e")) | set(confinement.with_defaults(spec).env)

    assert [name for name in sorted(ours) if not is_taken(name)] == []


@given(st.text(max_size=50))
def test_a_value_is_taken_as_it_is_or_refused(value: str) -> None:
    is_possible = "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if is_possible:
        assert check_value(value) == value
    else:
        with pytest.raises(SecretInvalid):
            check_value(value)


def test_values_are_limited_in_bytes() -> None:
    with pytest.raises(SecretInvalid):
        check_value("ü" * (SECRET_VALUE_BYTES_MAX // 2 + 1))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("com.algorithmia.plugin.VaultSecretProviderFactory", ProviderKind.VAULT),
        ("HashicorpVault", ProviderKind.VAULT),
        ("com.example.AzureKeyVaultFactory", ProviderKind.AZURE),
        ("key_vault", ProviderKind.AZURE),
        ("com.example.Ldap", None),
    ],
)
def test_the_factory_of_the_old_service_says_which_provider(
    name: str, kind: ProviderKind | None
) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize(
    "changed",
    [
        {"vault_token": ""},
        {"vault_token": "a\nb"},
        {"vault_token": "x" * 40_000},
        {"unknown": "x"},
        {"read_only": "yes"},
        {"vault_kv_version": "3"},
    ],
)
def test_a_wrong_configuration_is_refused_without_being_quoted(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_configuration(ProviderKind.VAULT, {**VAULT, **changed})

    assert "a\nb" not in refused.value.message


def test_a_configuration_is_kept_without_what_is_empty() -> None:
    given = {**VAULT, "vault_namespace": " ", "read_only": "true"}

    assert check_configuration(ProviderKind.VAULT, given) == {**VAULT, "read_only": "true"}


def test_who_may_change_an_algorithm_equips_it_and_administrators_do() -> None:
    jane, boss = rows.account("jane"), rows.account("boss", is_admin=True)
    algorithm = rows.algorithm(jane.account_id)
    manages = KeyPermissions(allow_algo_management=True)

    def principal(account, *, kind=KeyKind.STANDARD, permissions=manages, **fields) -> Principal:
        key = rows.key(account.account_id, kind=kind, permissions=permissions)
        return Principal(account=account, key=key, **fields)

    stranger = rows.account("bob")
    acting = ActingAlgorithm(
        algorithm_id=algorithm.algorithm_id,
        owner_id=jane.account_id,
        tree_id="",
        deadline_at=0.0,
        depth=1,
        is_pipeline_enabled=True,
    )
    member, executor = (
        principal(stranger, roles={jane.account_id: role}) for role in (Role.MEMBER, Role.EXECUTOR)
    )
    expected = {
        "owner": (principal(jane), True),
        "member": (member, True),
        "executor": (executor, False),
        "stranger": (principal(stranger), False),
        "weak key": (
            principal(jane, permissions=KeyPermissions(allow_algo_management=False)),
            False,
        ),
        "admin": (principal(boss, kind=KeyKind.ADMIN), True),
        "admin's other key": (principal(boss), False),
        "algorithm": (replace(principal(jane), acting=acting), False),
    }
    found = {
        name: not isinstance(authorship.may(asking, Act.EQUIP, algorithm, is_public=True), Refused)
        for name, (asking, _) in expected.items()
    }

    assert found == {name: wanted for name, (_, wanted) in expected.items()}
