"""The guide with the official client, unchanged. Run in an environment that has only it."""

import json
import shutil
import sys

import Algorithmia
from Algorithmia.acl import AclType, ReadAcl
from Algorithmia.errors import AlgorithmException

photo, picture, key, api = sys.argv[1:]
client = Algorithmia.client(key, api) if key else Algorithmia.client()

response = client.algo("demo/Hello").pipe("HAL 9000")
assert response.result == "Hello HAL 9000", response.result
assert response.metadata.content_type == "text"
assert response.metadata.duration > 0

documents = ["The apples are ready for picking", "It's apple picking season"]
topics = client.algo("nlp/LDA/1.0.0").pipe({"docsList": documents}).result
counts = {word: count for topic in topics for word, count in topic.items()}

limited = client.algo("demo/Hello").set_options(timeout=10, stdout=False)
assert limited.pipe("HAL 9001").result == "Hello HAL 9001"
assert client.algo("util/Echo").pipe(bytearray(b"\x00\xff")).result == b"\x00\xff"
assert client.algo("util/Echo").pipe(None).result is None

raw = client.algo("demo/Hello").set_options(output=Algorithmia.algorithm.OutputType.raw)
assert raw.pipe("raw") == "Hello raw"
void = client.algo("demo/Hello").set_options(output=Algorithmia.algorithm.OutputType.void)
receipt = void.pipe("nobody hears")
assert receipt.async_protocol == "void"
assert receipt.request_id.startswith("req-")

try:
    client.algo("util/WhoopsWrongAlgo").pipe("Hello, world!")
except Exception as error:
    assert "404" in str(error), error
else:
    raise AssertionError("an algorithm that does not exist answered")

try:
    client.algo("util/Sleep").pipe("not a number")
except AlgorithmException as error:
    assert error.error_type == "InputError", error.error_type
else:
    raise AssertionError("nonsense was accepted")

directory = client.dir("data://.my/official_pictures")
if not directory.exists():
    directory.create(ReadAcl.public)
assert directory.get_permissions().read_acl == AclType.public
assert directory.update_permissions(ReadAcl.private)
assert directory.get_permissions().read_acl == AclType.private

image = client.file("data://.my/official_pictures/friends.jpg")
image.putFile(photo)
assert image.exists()
assert [entry.getName() for entry in directory.files()] == ["friends.jpg"]
assert image.getBytes() == open(photo, "rb").read()

request = {
    "images": [
        {
            "url": "data://.my/official_pictures/friends.jpg",
            "output": "data://.algo/temp/official_faces.png",
        }
    ]
}
faces = client.algo("dlib/FaceDetection/0.2.1").pipe(request).result
assert faces["images"][0]["detected_faces"], faces

download = client.file("data://.algo/dlib/FaceDetection/temp/official_faces.png")
assert download.exists()
shutil.copyfile(download.getFile().name, picture)

notes = directory.file("notes.json")
notes.putJson({"a": 1})
assert notes.getJson() == {"a": 1}
directory.file("notes.txt").put("some text")
assert directory.file("notes.txt").getString() == "some text"
notes.delete()
assert not notes.exists()
directory.delete(force=True)
assert not directory.exists()
assert client.username()

print(json.dumps({"topics": counts}))
