"""The user guide, executed: with our client, with the official one, and with curl."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import RunningServer

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.network, pytest.mark.slow]


def test_the_guide_ends_with_a_box_around_the_face(
    whole_demo: RunningServer, tmp_path: Path
) -> None:
    picture = tmp_path / "detected_faces.png"
    command = [sys.executable, str(ROOT / "examples" / "guide.py")]
    options = ["--api", whole_demo.api, "--key", whole_demo.key, "--out", str(picture)]

    for _ in range(2):  # a second walk finds what the first one made
        walk = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)

        assert walk.returncode == 0, walk.stdout + walk.stderr
        assert "Hello HAL 9000" in walk.stdout
        assert "picking" in walk.stdout
        assert has_box(picture)


def has_box(picture: Path) -> bool:
    """Whether *picture* differs from the original on a frame around the astronaut's face."""
    import numpy as np
    from skimage import data, io

    original = data.astronaut().astype(int)
    drawn = io.imread(picture)[..., :3].astype(int)
    changed = np.abs(drawn - original).max(axis=-1) > 60
    rows, columns = np.nonzero(changed)
    face_row, face_column = 115, 225
    return bool(
        rows.size
        and rows.min() < face_row < rows.max()
        and columns.min() < face_column < columns.max()
        and not changed[face_row, face_column]
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_guide_with_curl(whole_demo: RunningServer, tmp_path: Path) -> None:
    from skimage import data, io

    photo = tmp_path / "friends.jpg"
    io.imsave(photo, data.astronaut())

    authorization = f"Authorization: Simple {whole_demo.key}"

    def curl(*arguments: str, path: str) -> str:
        return subprocess.run(
            ["curl", "-sS", "-H", authorization, *arguments, whole_demo.api + path],
            check=True, capture_output=True, text=True, timeout=120,
        ).stdout  # fmt: skip

    json_type = ("-H", "Content-Type: application/json")
    hello = json.loads(curl(*json_type, "-d", '"HAL 9000"', path="/v1/algo/demo/Hello"))
    documents = json.dumps({"docsList": DOCUMENTS})
    topics = json.loads(curl(*json_type, "-d", documents, path="/v1/algo/nlp/LDA/1.0.0"))
    curl(
        "-d", '{"name":"curl_pictures","acl":{"read":["user://*"]}}', path="/v1/connector/data/.my"
    )
    stored = json.loads(
        curl(
            "-X", "PUT", "--data-binary", f"@{photo}", path="/v1/data/.my/curl_pictures/friends.jpg"
        )
    )
    request = {
        "images": [
            {
                "url": "data://.my/curl_pictures/friends.jpg",
                "output": "data://.algo/temp/curl_faces.png",
            }
        ]
    }
    faces = json.loads(
        curl(*json_type, "-d", json.dumps(request), path="/v1/algo/dlib/FaceDetection/0.2.1")
    )
    picture = tmp_path / "curl_faces.png"
    curl("-o", str(picture), path="/v1/data/.algo/dlib/FaceDetection/temp/curl_faces.png")
    missing = curl("-I", path="/v1/data/.my/curl_pictures/nothing")

    assert hello["result"] == "Hello HAL 9000"
    assert counts(topics["result"]) == EXPECTED_COUNTS
    assert stored == {"result": "data://.my/curl_pictures/friends.jpg"}
    assert faces["result"]["images"][0]["detected_faces"]
    assert has_box(picture)
    assert "404" in missing.splitlines()[0]
    assert "x-error-message: path not found" in missing.lower()


DOCUMENTS = ["The apples are ready for picking", "It's apple picking season"]
EXPECTED_COUNTS = {"picking": 2, "apple": 1, "apples": 1, "ready": 1, "season": 1}


def counts(topics: list[dict[str, int]]) -> dict[str, int]:
    return {word: count for topic in topics for word, count in topic.items()}


@pytest.mark.parametrize("from_environment", [False, True])
def test_the_guide_with_the_official_client(
    whole_demo: RunningServer, official: Path, tmp_path: Path, from_environment: bool
) -> None:
    from skimage import data, io

    photo = tmp_path / "friends.jpg"
    io.imsave(photo, data.astronaut())
    picture = tmp_path / "official_faces.png"
    env = {k: v for k, v in os.environ.items() if not k.startswith("ALGORITHMIA_")}
    env |= {"HOME": str(tmp_path)}
    arguments = [whole_demo.key, whole_demo.api]
    if from_environment:
        env |= {"ALGORITHMIA_API": whole_demo.api, "ALGORITHMIA_API_KEY": whole_demo.key}
        arguments = ["", ""]
    script = Path(__file__).with_name("official_guide.py")

    walk = subprocess.run(
        [str(official), str(script), str(photo), str(picture), *arguments],
        env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert json.loads(walk.stdout)["topics"] == EXPECTED_COUNTS
    assert has_box(picture)
