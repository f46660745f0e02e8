"""`algo connector`: where credentials come from, and what it shows."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, StandIn

from algorium.cli import main

RUN = "import sys; from algorium.cli import main; sys.exit(main())"
S3 = {"access_key_id": "AKIA", "secret_access_key": "s3cret"}


@pytest.fixture(autouse=True)
def _without_credentials(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn) -> None:
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "DROPBOX_")):
            monkeypatch.delenv(name)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(S3 | {"comment": "of a colleague"}))
    return str(file)


def algo(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    return code, *capfd.readouterr()


def sent(stand_in: StandIn, method: str) -> Any:
    return next(
        json.loads(each.body) for each in reversed(stand_in.requests) if each.method == method
    )


def test_a_connector_lives_from_create_to_delete(
    capfd: pytest.CaptureFixture[str], stand_in: StandIn, key_file: str
) -> None:
    made = algo(
        *(capfd, "connector", "create", "s3", "--label", "archive", "--credentials", key_file),
        *("--path", "bucket/*", "--option", "region=eu-1", "--option", "path_style=false"),
    )
    assert made == (0, "s3+archive://\n", "created connector1\n")
    assert sent(stand_in, "POST")["cred_data"] == S3
    assert sent(stand_in, "POST")["options"] == {"region": "eu-1", "path_style": False}

    code, out, _ = algo(capfd, "connectors", "show", "s3+archive://", "--json")
    assert (code, json.loads(out)["uri"], json.loads(out)["path"]) == (
        *(0, "s3+archive://"),
        "bucket/*",
    )
    changed = algo(
        *(capfd, "connector", "update", "connector1", "--default", "--writeable"),
        *("--option", "region="),
    )
    assert changed == (0, "", "changed s3+archive://\n")
    assert "cred_data" not in sent(stand_in, "PUT")
    assert sent(stand_in, "PUT")["options"] == {"path_style": False}
    code, out, _ = algo(capfd, "connector", "list")
    assert [line.split() for line in out.splitlines()] == [
        ["uri", "default", "access", "opens", "id"],
        ["s3+archive://", "yes", "write", "bucket/*", "connector1"],
    ]
    code, out, error = algo(capfd, "connector", "test", "s3://")
    assert (code, "write   no   AccessDenied" in out) == (1, True)
    assert "s3+archive:// does not write, delete" in error
    assert "storage's own" not in error
    assert algo(capfd, "connector", "delete", "s3+archive") == (0, "", "deleted s3+archive://\n")
    assert algo(capfd, "connector", "list", "--json") == (0, "[]\n", "")
    code, _, error = algo(capfd, "connector", "show", "s3+archive")
    assert (code, "hint: `algo connector list` shows all." in error) == (1, True)


def test_credentials_come_from_the_environment(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stand_in: StandIn,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "ada")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1")
    account = tmp_path / "account.json"
    account.write_text(
        json.dumps({"client_email": "a@b", "private_key_id": "1", "private_key": "-\n-"})
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))

    for protocol, more, expected in (
        ("s3", [], S3),
        ("gs", [], {"email": "a@b", "private_key_id": "1", "private_key": "-\n-"}),
        (
            "azureblob",
            ["--credential", "container_name=c"],
            {
                "storage_uri": "https://ada.blob.core.windows.net",
                "sas_token": "sv=1",
                "container_name": "c",
            },
        ),
    ):
        words = ["connector", "create", protocol, "--label", protocol, "--from-env", *more]
        assert algo(capfd, *words)[0] == 0
        assert sent(stand_in, "POST")["cred_data"] == expected


def test_credentials_are_typed_and_not_shown(stand_in: StandIn) -> None:
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "connector", "create", "s3", "--label", "typed"],
        stdin=writer,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # else `getpass` finds the terminal of whoever runs the tests
    ) as process:
        assert process.stderr is not None
        asked = b""
        # What is typed before `getpass` asks is thrown away by it.
        for prompt, answer in ((b"access_key_id: ", b"AKIA\n"), (b"access_key: ", b"s3cret\n")):
            while not asked.endswith(prompt):
                byte = process.stderr.read(1)
                assert byte, asked
                asked += byte
            os.write(reader, answer)
        out, error = process.communicate(timeout=60)
    os.close(reader)
    os.close(writer)

    assert (process.returncode, out) == (0, b"s3+typed://\n")
    assert sent(stand_in, "POST")["cred_data"] == S3
    assert b"s3cret" not in error


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["create", "ftp"], "ftp is none of s3, gs, azureblob, dropbox"),
        (["create", "s3"], "no access_key_id, secret_access_key: give --credentials a file"),
        (["create", "s3", "--label", "x"], "with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY set"),
        (["create", "s3", "--from-env"], "the environment has none of AWS_ACCESS_KEY_ID"),
        (["create", "s3", "--credential", "s3cret"], "--credential takes NAME=VALUE"),
        (["create", "s3", "--credentials", "bad.json"], "bad.json must hold a JSON object"),
        (["create", "gs", "--credentials", "key.json"], "key.json has no credentials for gs"),
        (["create", "s3", "--option", "colour=red"], "--option takes NAME=VALUE"),
        (["create", "s3", "--option", "allow_http=maybe"], "takes true or false"),
        (["update", "s3"], "there is nothing to change"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value[:4]).replace(".", "_"),
)
def test_what_is_wrong_is_told_without_secrets(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    refusal: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text('{"secret_access_key": "s3cret"')
    Path("key.json").write_text(json.dumps(S3))

    code, out, error = algo(capfd, "connector", *words)

    assert (code, out) == (2, "")
    assert refusal in error
    assert "s3cret" not in error.replace("create s3cret", "")
