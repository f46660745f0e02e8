from pathlib import Path

import pytest

from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.settings import Settings


def test_the_defaults_are_those_of_the_contract(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings()

    assert settings.home == tmp_path / ".algorium"
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.admin_username == "admin"
    assert settings.sandbox_wanted == "auto"
    assert not settings.demo


def test_the_home_is_absolute(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert Settings(home=Path("~/here")).home == tmp_path / "here"
    assert Settings(home=Path("there")).home == tmp_path / "there"


def test_the_table_names_every_option_once():
    table = Settings.table()

    assert len({option.flag for option in table}) == len(table)
    assert all(option.help.endswith(".") and option.kind for option in table)
    home = next(option for option in table if option.name == "home")
    assert (home.flag, home.variable, home.kind) == ("--home", "ALGORIUM_HOME", "path")
    assert home.default_text == "~/.algorium"
    sandbox = next(option for option in table if option.name == "unsafe_no_sandbox")
    assert (sandbox.flag, sandbox.default_text) == ("--unsafe-no-sandbox", "no")
    engine = next(option for option in table if option.name == "engine")
    assert engine.kind == "local | ray"


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"slots_max": 0},
        {"workers": 0},
        {"workers": 65},
        {"workers": 3, "slots_max": 2},
        {"usage_keep_days": -1},
        {"memory_budget_mib": -1},
        {"shutdown_grace_s": -1.0},
        {"shutdown_grace_s": float("nan")},
        {"shutdown_grace_s": float("inf")},
        {"admin_username": "not a name"},
        {"public_url": "example.com"},
        {"unsafe_no_sandbox": True, "sandbox": "full"},
        {"slot_cpus": -1.0},
        {"slot_cpus": float("nan")},
        {"network_allow": "example.com"},
        {"network_allow": "10.0.0.1/8"},
        {"network_allow": "127.0.0.1"},
        {"network_allow": "0.0.0.0/0"},
        {"trusted_proxies": "proxy.example.com"},
        {"trusted_proxies": "10.0.0.1/8"},
        {"trusted_proxies": "10.0.0.1, ::/0"},
        {"proxy_headers": "x-real-ip"},
        {"storage": "elsewhere"},
        {"storage": "s3://"},
        {"storage": "s3://key:secret@bucket"},
        {"storage": "s3://bucket?endpoint=127.0.0.1:9000"},
        {"storage": "az://container?region=x"},
        {"storage": "s3://bucket?endpiont=http://127.0.0.1:9000"},
        {"account_bytes_max": -1},
        {"account_files_max": -1},
        {"scrub_days": -0.5},
    ],
)
def test_what_is_never_right_is_refused(wrong):
    with pytest.raises(InvalidInput):
        Settings(**wrong)


@pytest.mark.parametrize("later", [{"engine": "ray"}])
def test_what_comes_later_is_refused_in_clear_words(later):
    with pytest.raises(Unavailable, match="not available yet"):
        Settings(**later)


def test_no_sandbox_has_to_be_asked_for():
    assert Settings(unsafe_no_sandbox=True).sandbox_wanted == "none"
    assert Settings(sandbox="reduced").sandbox_wanted == "reduced"


def test_networks_are_taken_apart():
    wanted = Settings(network_allow="10.1.0.0/16, 192.168.5.4")

    assert wanted.network_allowed == ("10.1.0.0/16", "192.168.5.4/32")
    assert Settings().network_allowed == ()
