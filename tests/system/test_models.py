"""Model manifests: with the official development kit, and fetched once from elsewhere."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authors import Author
from running import ALGORIUM, RunningServer

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

import peers

FETCHING = """\
import os, urllib.request

def load():
    address = os.environ["ALGORITHMIA_API"] + "/v1/data/s3+models://bucket/model.bin"
    with urllib.request.urlopen(address) as answer:
        return answer.read()

def apply(input, model):
    return model[:7].decode() + " " + str(len(model))
"""
MODEL = b"weights" * 300_000
SOURCE = """\
from Algorithmia import ADK


def load(models):
    return {"net": open(models.get_model("net")).read(), "models": models}


def apply(input, state):
    if input == "labels":
        return open(state["models"].get_model("labels")).read()
    return state["net"]


algorithm = ADK(apply, load)
algorithm.init("x")
"""
MANIFEST = """\
{
  "required_files": [
    {"name": "net", "source_uri": "data://.my/models/net", "fail_on_tamper": true}
  ],
  "optional_files": [
    {"name": "labels", "source_uri": "data://.my/models/labels", "fail_on_tamper": true}
  ]
}
"""
KIT = "algorithmia>=1.0.0,<2.0\nsix\n"


@pytest.fixture(scope="module")
def kit_author(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    place = tmp_path_factory.mktemp("models")
    with RunningServer(place / "home") as server:
        author = Author(server, place)
        author.http.post("/v1/data/.my", json={"name": "models"})
        put(author, "net", "weights")
        put(author, "labels", "cat dog")
        yield author
        author.http.close()


def put(author: Author, name: str, content: str) -> None:
    answer = author.http.put(f"/v1/data/.my/models/{name}", content=content.encode())
    assert answer.status_code == 200, answer.text


def freeze(author: Author, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run `algo freeze` in the project."""
    environment = {"ALGORITHMIA_API": author.server.api, "ALGORITHMIA_API_KEY": author.server.key}
    return subprocess.run(
        [ALGORIUM.with_name("algo"), "freeze", *options],
        cwd=author.place / "Kit",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def result(author: Author, ref: str, value: Any) -> Any:
    answer = author.server.call(f"admin/Kit/{ref}", value).json()
    return answer["result"] if answer.get("result") is not None else answer["error"]


@pytest.mark.network
@pytest.mark.slow
def test_a_frozen_manifest_from_freeze_to_tampering(kit_author: Author) -> None:
    author = kit_author
    files = {"model_manifest.json": MANIFEST}
    author.create("Kit", SOURCE, requirements=KIT, **files)
    assert freeze(author).returncode == 0
    said = author.push("Kit", SOURCE, requirements=KIT)
    assert "Build succeeded" in said, said
    author.publish("Kit")

    assert result(author, "0.1.0", "x") == "weights"
    assert result(author, "0.1.0", "labels") == "cat dog"
    assert freeze(author, "--check").returncode == 0

    put(author, "labels", "bird")
    put(author, "net", "other weights")
    changed = freeze(author, "--check")
    assert (changed.returncode, changed.stdout.count("is another file now")) == (1, 2)
    author.push("Kit", SOURCE + "\n", requirements=KIT)
    author.publish("Kit")  # a new version has slots of its own, which load anew
    error = result(author, "0.2.0", "x")
    assert "Model File Mismatch for net" in error["message"]
    assert error["error_type"] == "LoadingError"

    frozen = author.place / "Kit" / "model_manifest.json.freeze"
    text = frozen.read_text()
    said = author.push(
        "Kit", SOURCE, requirements=KIT, **{frozen.name: text.replace('"labels"', '"label"')}
    )
    assert "Tamper Detected" in said
    assert "Build failed" in said
    assert freeze(author).returncode == 0
    author.push("Kit", SOURCE, requirements=KIT)
    author.publish("Kit")
    assert result(author, "0.3.0", "x") == "other weights"


@pytest.mark.slow
def test_a_frozen_file_from_a_bucket_is_fetched_once(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    with peers.running_s3(tmp_path / "s3") as s3:
        allowed = s3.endpoint.rpartition("/")[2]
        with RunningServer(tmp_path / "home", "--connector-allow", allowed) as server:
            author = Author(server, tmp_path)
            connector = {
                "username": "admin",
                "protocol": "s3",
                "label": "models",
                "writeable": True,
                "cred_type": s3.cred_type,
                "cred_data": s3.credentials,
                "options": s3.options,
            }
            assert author.http.post("/v1/users/admin/connectors", json=connector).status_code == 200
            address = "/v1/data/s3+models://bucket/model.bin"
            assert author.http.put(address, content=MODEL).status_code == 200
            freeze = {
                "required_files": [
                    {
                        "name": "model",
                        "source_uri": "s3+models://bucket/model.bin",
                        "md5_checksum": hashlib.md5(MODEL).hexdigest(),
                    }
                ]
            }
            frozen = {"model_manifest.json.freeze": json.dumps(freeze)}
            author.create("Fetching", FETCHING, **frozen)
            author.publish("Fetching")
            assert _call(server, "0.1.0") == f"weights {len(MODEL)}"
            assert len(_kept(server)) == 1

            (source,) = s3.directory.rglob("model.bin")
            with source.open("r+b") as file:  # past the server: its digest is still the old one
                file.write(b"changed")
            assert author.http.get(address).content[:7] == b"changed"
            author.push("Fetching", FETCHING + "\n")
            author.publish("Fetching")
            assert _call(server, "0.2.0") == f"weights {len(MODEL)}"  # a slot that loads anew

            other = b"another model" * 200_000
            assert author.http.put(address, content=other).status_code == 200
            author.push("Fetching", FETCHING)
            author.publish("Fetching")
            assert _call(server, "0.3.0") == f"another {len(other)}"
            assert len(_kept(server)) == 1
            author.http.close()


def _call(server: RunningServer, version: str) -> Any:
    answer = server.call(f"admin/Fetching/{version}", None).json()
    return answer.get("result") or answer


def _kept(server: RunningServer) -> "list[Path]":
    return [path for path in (server.home / "models" / "files").rglob("*") if path.is_file()]
