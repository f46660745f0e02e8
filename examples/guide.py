"""
The client guide of the old platform, section by section, against your own server.

    algorium serve --demo          # in one shell
    python examples/guide.py       # in another

It may be run again and again. At the end the faces found in a photograph are marked in a picture on
your disk. The photograph is the portrait of astronaut Eileen Collins by NASA, in the public domain,
as it comes with scikit-image.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import skimage.data
from PIL import Image

from algorium import Algorium, AlgoriumError, DataAcl, ReadAcl


@dataclass(frozen=True)
class Face:
    """A found face, in pixels from the upper left corner."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class SearchedImage:
    """What FaceDetection tells of a picture; members not named here are ignored."""

    url: str
    detected_faces: list[Face]


def main() -> int:
    arguments = parse_arguments()
    try:
        with set_up_the_client(arguments) as client:
            call_an_algorithm(client)
            call_with_json(client)
            call_with_options(client)
            handle_errors(client)
            create_a_collection(client)
            img_file = upload(client)
            find_faces(client, img_file)
            download_the_result(client, arguments.out)
    except AlgoriumError as error:
        print(f"\nThe guide stops here: {type(error).__name__}: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Walk through the client guide.")
    parser.add_argument("--api", help="API address (default: ALGORITHMIA_API, else the server's)")
    parser.add_argument("--key", help="API key (default: ALGORITHMIA_API_KEY, else the server's)")
    parser.add_argument(
        "--home",
        type=Path,
        default=Path.home() / ".algorium",
        help="home directory of the server, which knows address and key (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("detected_faces.png"),
        help="where to save the picture with the faces (default: %(default)s)",
    )
    return parser.parse_args()


def set_up_the_client(arguments: argparse.Namespace) -> Algorium:
    section("Set Up the Client")
    own_api = known_to_server(arguments.home / "endpoint.json", "api")
    api = arguments.api or os.environ.get("ALGORITHMIA_API") or own_api
    key = arguments.key or os.environ.get("ALGORITHMIA_API_KEY")
    if key is None and api == own_api:  # this key is for no other server
        key = known_to_server(arguments.home / "credentials.json", "api_key")
    client = Algorium(key, api)
    print(f"The client talks to {client.api_address}.")
    return client


def known_to_server(path: Path, name: str) -> str | None:
    """Read one value that the server wrote into its home directory, if it did."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[name])
    except (OSError, KeyError, ValueError):
        return None


def call_an_algorithm(client: Algorium) -> None:
    section("Calling an Algorithm")
    algo = client.algo("demo/Hello")
    response = algo.pipe("HAL 9000")
    print(response.as_string())


def call_with_json(client: Algorium) -> None:
    section("JSON and Python")
    algo = client.algo("nlp/LDA/1.0.0")
    response = algo.pipe(
        {
            "docsList": [
                "The apples are ready for picking",
                "It's apple picking season",
            ]
        }
    )
    print(response.to_json())
    for number, topic in enumerate(response.decode(list[dict[str, int]]), start=1):
        print(f"topic {number}: {', '.join(f'{word} ({count})' for word, count in topic.items())}")


def call_with_options(client: Algorium) -> None:
    section("Request Options")
    algo = client.algo("demo/Hello").timeout(10).stdout(False)
    response = algo.pipe("HAL 9001")
    print(response.as_string())
    print(f"The call took {response.metadata.duration} s on the server.")


def handle_errors(client: Algorium) -> None:
    section("Error Handling")
    try:
        client.algo("util/WhoopsWrongAlgo").pipe("Hello, world!")
    except AlgoriumError as error:
        print(f"error calling algorithm: {error}")
    else:
        raise SystemExit("util/WhoopsWrongAlgo should not exist.")


def create_a_collection(client: Algorium) -> None:
    section("Create a Data Collection")
    # The first directory at the root is your own; instead of its name you can also write ".my".
    username = next(client.dir("data://").dirs()).name
    img_directory = client.dir(f"data://{username}/img_directory")
    if img_directory.exists():
        print("img_directory exists")
    else:
        img_directory.create(DataAcl.from_read(ReadAcl.PUBLIC))
        print("img_directory created")
    acl = img_directory.acl()
    print(f"data://{username}/img_directory, read access: {acl.read.name if acl else 'unknown'}")


def upload(client: Algorium) -> str:
    section("Upload Data to your Data Collection")
    img_file = "data://.my/img_directory/friends.jpg"
    if client.file(img_file).exists():
        print("file exists")
    else:
        with tempfile.TemporaryDirectory() as directory:
            photo = Path(directory) / "friends.jpg"
            Image.fromarray(skimage.data.astronaut()).save(photo, quality=95)
            client.file(img_file).put_file(photo)
        print("file uploaded")
    for file in client.dir("data://.my/img_directory").files():
        print(f"{file.uri}  {file.size_bytes} bytes")
    return img_file


def find_faces(client: Algorium, img_file: str) -> None:
    section("Call the Algorithm")
    algo = client.algo("dlib/FaceDetection/0.2.1")
    response = algo.pipe(
        {
            "images": [
                {
                    "url": img_file,
                    "output": "data://.algo/temp/detected_faces.png",
                }
            ]
        }
    )
    print(response.to_json())
    for image in response.decode(dict[str, list[SearchedImage]])["images"]:
        print(f"{image.url}: {len(image.detected_faces)} found")
        for face in image.detected_faces:
            print(f"  {face.right - face.left} pixels wide, at {face.left}, {face.top}")


def download_the_result(client: Algorium, out: Path) -> None:
    section("Download the resulting file")
    download_uri = "data://.algo/dlib/FaceDetection/temp/detected_faces.png"
    if not client.file(download_uri).exists():
        raise SystemExit(f"{download_uri} should exist by now.")
    with client.file(download_uri).get() as reader, out.open("wb") as png:
        shutil.copyfileobj(reader, png)
    print(f"Saved as {out}; get_file() does the same in one step, whole or not at all.")

    content = client.file(download_uri).read()
    with Image.open(out) as picture:
        picture.load()
        print(f"{len(content)} bytes: a {picture.format} of {picture.width} x {picture.height}.")


def section(title: str) -> None:
    print(f"\n## {title}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
