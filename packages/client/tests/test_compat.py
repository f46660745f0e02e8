"""What the old client's names do beyond what its own programs show; see `tests/system`."""

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy
import pytest
from standin import KEY, Fault, StandIn

import algorium
from algorium import compat as Algorithmia  # noqa: N812 - as its users write it
from algorium.compat import ADK, serving
from algorium.compat.errors import AlgorithmException, ApiError, DataApiError


@pytest.fixture
def client(stand_in: StandIn) -> Any:
    client = Algorithmia.client(KEY, stand_in.address)
    yield client
    client.algorium.close()


def told(status: int, body: Any) -> Fault:
    headers = {"Content-Type": "application/json"}
    return Fault(status=status, headers=headers, body=json.dumps(body).encode())


def test_what_is_refused_has_the_status_and_the_reason(client: Any) -> None:
    with pytest.raises(AlgorithmException) as caught:
        client.algo("util/Whoops").pipe("x")

    assert "<Response [404]>" in str(caught.value)
    assert "algorithm algo://util/Whoops not found" in str(caught.value)
    assert caught.value.error_type is None


def test_a_failed_call_has_its_kind_and_its_trace(client: Any) -> None:
    with pytest.raises(ApiError) as caught:
        client.algo("fail/InputError").pipe("x")

    assert caught.value.error_type == "InputError"
    assert caught.value.stack_trace == "Traceback"


def test_publishing_is_asked_for_twice(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(500, {"error": {"message": "no"}}), told(200, {"id": "a"})]

    assert client.algo("ada/x").publish(version_info={"version_type": "minor"}) == {"id": "a"}
    assert json.loads(stand_in.last.body)["version_info"] == {"version_type": "minor"}
    assert stand_in.last.path == "/v1/algorithms/ada/x/versions"


def test_an_update_keeps_its_values(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told(200, {"id": "a"}))
    client.algo("ada/x").update(details={"label": "X"})

    assert json.loads(stand_in.last.body)["details"] == {"label": "X"}
    assert stand_in.last.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False)])
def test_algorithms_may_exist(client: Any, stand_in: StandIn, status: int, there: bool) -> None:
    stand_in.faults.append(told(status, {}))

    assert client.algo("ada/x").exists() is there


def test_pages_of_builds_are_asked_for_as_before(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(200, {"results": []})] * 2
    client.algo("ada/x").get_builds(marker="m")
    client.algo("ada/x").versions(published=True)

    assert stand_in.requests[-2].query == {"limit": "56", "marker": "m"}
    assert stand_in.last.query == {"published": "true"}


def test_arrays_are_written_and_read(client: Any, stand_in: StandIn) -> None:
    stand_in.faults += [told(200, {"result": "x"}), told(200, [[1, 2], [3, 4]])]
    file = client.file("data://.my/arrays/a.json")
    file.putNumpy(numpy.array([[1, 2], [3, 4]]))

    assert json.loads(stand_in.last.body) == [[1, 2], [3, 4]]
    assert file.getNumpy().tolist() == [[1, 2], [3, 4]]


def test_a_download_that_is_refused_leaves_nothing(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataApiError, match="unable to get file"):
        client.file("data://.my/absent/f").getFile()

    assert [each for each in tmp_path.iterdir() if each.is_file()] == []


def test_certificates_are_always_checked() -> None:
    with pytest.raises(algorium.ConfigurationError, match="always checked"):
        Algorithmia.client(KEY, "https://127.0.0.1:1", False)


def test_a_key_may_have_its_scheme_before_it(stand_in: StandIn) -> None:
    client = Algorithmia.client(f"Simple {KEY}", stand_in.address)

    assert client.algo("demo/Hello").pipe("x").result == "Hello x"
    client.algorium.close()


def test_another_default_key_makes_another_client(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Algorithmia, "defaultClient", None)
    monkeypatch.setattr(Algorithmia, "apiAddress", stand_in.address)
    monkeypatch.setattr(Algorithmia, "apiKey", "wrong")
    with pytest.raises(ApiError, match="401"):
        Algorithmia.algo("demo/Hello").pipe("x")
    Algorithmia.getDefaultClient().algorium.close()
    monkeypatch.setattr(Algorithmia, "apiKey", KEY)

    assert Algorithmia.algo("demo/Hello").pipe("x").result == "Hello x"
    assert Algorithmia.getDefaultClient() is Algorithmia.getDefaultClient()
    Algorithmia.getDefaultClient().algorium.close()


def test_it_can_take_the_place_of_the_other_package() -> None:
    program = (
        "import algorium.compat; algorium.compat.install();"
        "import Algorithmia, adk; from Algorithmia.acl import ReadAcl;"
        "from Algorithmia.errors import AlgorithmException;"
        "assert Algorithmia.ADK is adk.ADK; assert Algorithmia is algorium.compat"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_kit_can_be_tried_on_a_laptop(capsys: pytest.CaptureFixture[str]) -> None:
    ADK(lambda value, state: f"{state} {value}", lambda: "Hello").init("HAL")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        ADK(lambda _value: 1 / 0).init("HAL")

    first, answer, *_ = capsys.readouterr().out.splitlines()
    assert first == "loading complete"
    assert json.loads(answer) == {"result": "Hello HAL", "metadata": {"content_type": "text"}}


def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kit: Any, *lines: Any) -> list[Any]:
    """Let a kit serve as on the platform, and return what it writes into its FIFO."""
    fifo = tmp_path / "algoout"
    os.mkfifo(fifo)
    monkeypatch.setattr(serving, "FIFO", fifo)
    monkeypatch.setattr("algorium.compat.adk.FIFO", fifo)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{json.dumps(x)}\n" for x in lines)))
    found: list[Any] = []

    def read() -> None:
        # Open for writing, too: so it does not end between one answer and the next.
        with open(os.open(fifo, os.O_RDWR), encoding="utf-8") as answers:
            found.extend(json.loads(answers.readline()) for _ in lines)

    reader = threading.Thread(target=read)
    reader.start()
    kit()
    reader.join()
    return found


def test_a_kit_serves_on_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inputs = [
        {"content_type": "binary", "data": "AAE="},
        {"content_type": "json", "data": {"a": 1}},
        {"content_type": "text", "data": "text"},
    ]

    found = served(monkeypatch, tmp_path, lambda: ADK(lambda value: value).init(), *inputs)

    assert [each["metadata"]["content_type"] for each in found] == ["binary", "json", "text"]
    assert [each["result"] for each in found] == ["AAE=", {"a": 1}, "text"]


def test_a_kit_that_cannot_load_says_so_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load() -> None:
        raise AlgorithmException("no model", error_type="ModelError")

    text = {"content_type": "text", "data": "x"}

    def serve() -> None:
        ADK(lambda value: value, load).init()

    found = served(monkeypatch, tmp_path, serve, text, text)

    assert [each["error"]["error_type"] for each in found] == ["ModelError"] * 2


def test_the_oldest_kit_serves_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def apply(value: str, state: str) -> str:
        return state + value

    text = {"content_type": "text", "data": "x"}
    handler = Algorithmia.handler(apply, lambda: "loaded ")

    (found,) = served(monkeypatch, tmp_path, handler.serve, text)

    assert found["result"] == "loaded x"


@pytest.mark.parametrize("wrong", [lambda: 0, lambda _a, _b, _c: 0])
def test_a_handler_takes_an_input_and_perhaps_what_was_loaded(wrong: Any) -> None:
    with pytest.raises(TypeError, match="between 1 and 2"):
        Algorithmia.handler(wrong)


def test_a_manifest_names_the_files_that_a_kit_loads(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client.algorium.dir("data://.my/models").create()
    client.algorium.file("data://.my/models/m.bin").put(b"weights")
    manifest = {
        "required_files": [
            {"name": "m", "source_uri": "data://.my/models/m.bin", "fail_on_tamper": True}
        ],
        "optional_files": [{"name": "o", "source_uri": "data://.my/models/m.bin"}],
    }
    Path("model_manifest.json").write_text(json.dumps(manifest))
    client.freeze("model_manifest.json")

    def apply(_value: Any, models: Any) -> str:
        return Path(models.get_model("m")).read_text() + Path(models.get_model("o")).read_text()

    answers: list[str] = []
    ADK(apply, lambda models: models, client).init("x", pprint=answers.append)
    client.algorium.file("data://.my/models/m.bin").put(b"others")
    kit = ADK(apply, lambda models: models, client)
    kit.load()

    assert json.loads(answers[0])["result"] == "weightsweights"
    assert "Model File Mismatch for m" in str(kit.loading_exception)
