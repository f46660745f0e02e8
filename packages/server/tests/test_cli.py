import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from algorium_server import cli

PROGRAM = "import sys; from algorium_server.cli import main; sys.exit(main())"


def algorium(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_version_is_told():
    done = algorium("version")

    assert done.returncode == 0
    assert done.stdout == f"algorium {importlib.metadata.version('algorium-server')}\n"
    told = json.loads(algorium("version", "--json").stdout)
    assert told == {"version": importlib.metadata.version("algorium-server")}


@pytest.mark.parametrize("name", sorted(name for name in cli.app if not name.startswith("-")))
def test_a_command_is_listed_with_what_its_own_help_says(name, capsys):
    cli.main([name, "--help"])
    own = " ".join(capsys.readouterr().out.split("\n\n")[1].split())
    cli.main(["--help"])
    listed = " ".join(capsys.readouterr().out.replace("│", " ").split())

    assert own.split("; ")[0].rstrip(".") in listed


def test_telling_the_version_loads_no_database():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", PROGRAM, "version"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "algorium_server.cli" in done.stderr
    assert "sqlalchemy" not in done.stderr


def test_help_shows_options_with_their_variables():
    done = algorium("serve", "--help", COLUMNS="200")

    assert done.returncode == 0
    assert "--port" in done.stdout
    assert "ALGORIUM_PORT" in done.stdout
    assert "~/.algorium" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "bogus"),
        (["serve", "--bogus"], "--bogus"),
        (["serve", "--port", "x"], "--port"),
        (["serve", "--port", "70000"], "between 0 and 65535"),
        (["serve", "--sandbox", "none"], "reduced"),
        (["serve", "--admin-username", "no name"], "account name"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, said):
    done = algorium(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr


def test_variables_are_read_and_checked():
    done = algorium("serve", ALGORIUM_PORT="70000")
    assert done.returncode == 2
    assert "70000" in done.stderr

    done = algorium("serve", ALGORIUM_PORT="x")
    assert done.returncode == 2
    assert "ALGORIUM_PORT" in done.stderr


def test_what_is_not_available_yet_ends_with_1():
    done = algorium("serve", "--engine", "ray")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "not available yet" in done.stderr


@pytest.mark.slow
def test_the_doctor_tells_what_this_host_offers():
    done = algorium("doctor", "--json")

    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["level"] else 1)
    assert {"level", "missing", "unprotected"} <= report.keys()
    found = {each["what"]: each["state"] for each in report["findings"]}
    assert {"sandbox level", "network access", "zygotes", "language node"} <= found.keys()
    assert set(found.values()) <= {"ok", "in part", "missing"}
    assert (found["sandbox level"] == "missing") == (report["level"] is None)


@pytest.mark.slow
def test_the_doctor_names_remedies():
    done = algorium("doctor", PATH="/nowhere", COLUMNS="300")  # there is no bubblewrap then

    assert "Sandbox level: " in done.stdout
    assert "Remedy" in done.stdout
    assert "bubblewrap" in done.stdout
