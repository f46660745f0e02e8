import http.server
import io
import os
import pathlib
import threading

import pytest
from PIL import Image

from .errors import EntityNotFoundError, InputError, TooLargeError, UnsupportedError
from .FaceDetection import apply
from .pictures import BOX_COLOUR

ASTRONAUT = (pathlib.Path(__file__).parent / "testdata" / "astronaut.jpg").read_bytes()
PHOTO = "data://.my/pictures/astronaut.jpg"


@pytest.fixture
def files(monkeypatch):
    """Files by path on a server where the platform's own would be; one photo is there."""
    files = {"/v1/data/.my/pictures/astronaut.jpg": ASTRONAUT}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(files.get(self.path))

        do_HEAD = do_GET  # noqa: N815 - the server looks for this name

        def do_PUT(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/v1/data/.my/locked/"):
                self.answer(b'{"error": {"message": "not authorized"}}', status=403)
                return
            files[self.path] = content
            self.answer(b'{"result": "ok"}')

        def answer(self, content, status=200):
            self.send_response(404 if content is None else status)
            if content is None:
                self.send_header("X-Error-Message", "path not found")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content or b"")

        def log_message(self, format, *args):
            pass

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    except PermissionError:
        pytest.skip("this sandbox allows no server, not even for its own tests")
    monkeypatch.setenv("ALGORITHMIA_API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("ALGORITHMIA_API_KEY", raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


def encoded(picture, format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def assert_is_the_astronaut(face):
    assert 15 <= face["left"] <= 55
    assert 35 <= face["top"] <= 75
    assert 105 <= face["right"] <= 145
    assert 125 <= face["bottom"] <= 165


@pytest.mark.parametrize("extension", ["png", "jpg", "JPEG"])
def test_a_face_is_found_and_boxed(files, extension):
    output = f"data://.algo/temp/faces.{extension}"
    answer = apply({"images": [{"url": PHOTO, "output": output}]})

    (image,) = answer["images"]
    (face,) = image["detected_faces"]
    assert image["url"] == PHOTO
    assert image["output"] == output
    assert image["imageDimensions"] == {"height": 220, "width": 200}
    assert_is_the_astronaut(face)
    stored = Image.open(io.BytesIO(files[f"/v1/data/.algo/temp/faces.{extension}"]))
    assert stored.format == ("PNG" if extension == "png" else "JPEG")
    assert stored.size == (200, 220)
    if extension == "png":
        assert stored.getpixel((face["left"], face["top"])) == BOX_COLOUR
        assert stored.getpixel((face["right"], face["bottom"])) == BOX_COLOUR


def test_without_output_nothing_is_stored(files):
    before = set(files)
    (image,) = apply({"images": [{"url": PHOTO}]})["images"]

    assert len(image["detected_faces"]) == 1
    assert "output" not in image
    assert set(files) == before


def test_a_picture_without_a_face_has_an_empty_list(files):
    files["/v1/data/.my/pictures/grey.png"] = encoded(Image.new("L", (160, 120), 128))
    (image,) = apply({"images": "data://.my/pictures/grey.png"})["images"]

    assert image["detected_faces"] == []


def test_several_pictures_in_all_forms(files):
    urls = [PHOTO, PHOTO]
    outputs = ["data://.algo/temp/a.png", "data://.algo/temp/b.png"]
    answer = apply({"images": [{"url": urls, "output": outputs}, PHOTO, {"url": urls}]})

    assert [image.get("output") for image in answer["images"]] == [*outputs, None, None, None]
    assert all(len(image["detected_faces"]) == 1 for image in answer["images"])
    assert files["/v1/data/.algo/temp/a.png"] == files["/v1/data/.algo/temp/b.png"]


@pytest.mark.usefixtures("files")
def test_a_picture_is_read_from_a_url():
    url = os.environ["ALGORITHMIA_API"] + "/v1/data/.my/pictures/astronaut.jpg"
    (image,) = apply({"images": [{"url": url}]})["images"]

    assert_is_the_astronaut(image["detected_faces"][0])


def test_a_photo_taken_sideways_is_turned_upright(files):
    sideways = Image.open(io.BytesIO(ASTRONAUT)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    files["/v1/data/.my/pictures/turned.jpg"] = encoded(sideways, "JPEG", exif=exif)
    (image,) = apply({"images": [{"url": "data://.my/pictures/turned.jpg"}]})["images"]

    assert image["imageDimensions"] == {"height": 220, "width": 200}
    assert_is_the_astronaut(image["detected_faces"][0])


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK"])
def test_every_colour_mode_is_searched(files, mode):
    picture = Image.open(io.BytesIO(ASTRONAUT)).convert(mode)
    files["/v1/data/.my/pictures/mode"] = encoded(picture, "TIFF")
    (image,) = apply({"images": [{"url": "data://.my/pictures/mode"}]})["images"]

    assert len(image["detected_faces"]) == 1


@pytest.mark.usefixtures("files")
def test_a_missing_picture_is_named():
    with pytest.raises(EntityNotFoundError, match=r"none\.jpg") as caught:
        apply({"images": [{"url": "data://.my/pictures/none.jpg"}]})

    assert caught.value.error_type == "EntityNotFoundError"


def test_a_file_that_is_no_picture_is_unsupported(files):
    files["/v1/data/.my/pictures/text.jpg"] = b"not a picture"
    files["/v1/data/.my/pictures/half.jpg"] = ASTRONAUT[:3000]

    for name in ("text.jpg", "half.jpg"):
        with pytest.raises(UnsupportedError, match=name):
            apply({"images": [{"url": f"data://.my/pictures/{name}"}]})


def test_too_many_pixels_are_refused_before_they_are_decoded(files):
    files["/v1/data/.my/pictures/big.png"] = encoded(Image.new("1", (8000, 8000)))

    with pytest.raises(TooLargeError, match="8000 x 8000"):
        apply({"images": [{"url": "data://.my/pictures/big.png"}]})


@pytest.mark.usefixtures("files")
def test_a_refused_write_is_told():
    with pytest.raises(InputError, match=r"cannot write data://\.my/locked/a\.png"):
        apply({"images": [{"url": PHOTO, "output": "data://.my/locked/a.png"}]})


@pytest.mark.parametrize(
    ("given", "error", "complaint"),
    [
        (None, InputError, "images"),
        ("data://.my/a.png", InputError, "images"),
        ({"image": PHOTO}, InputError, "images"),
        ({"images": []}, InputError, "between 1 and 100"),
        ({"images": [PHOTO] * 101}, InputError, "between 1 and 100"),
        ({"images": [{"output": "data://.algo/temp/a.png"}]}, InputError, "member url"),
        ({"images": [{"url": 5}]}, InputError, "url must be a string"),
        ({"images": ["friends.jpg"]}, InputError, "data URI or a URL"),
        ({"images": [{"url": PHOTO, "output": 5}]}, InputError, "output must be a string"),
        ({"images": [{"url": PHOTO, "output": "a.png"}]}, InputError, "must be a data URI"),
        ({"images": [{"url": PHOTO, "output": "http://x/a.png"}]}, InputError, "be a data URI"),
        ({"images": [{"url": PHOTO, "output": "data://.my/a.bmp"}]}, UnsupportedError, "must end"),
        ({"images": [{"url": [PHOTO], "output": []}]}, InputError, "same length"),
        ({"images": [PHOTO], "upsample": 3}, InputError, "upsample"),
        ({"images": [PHOTO], "threshold": "high"}, InputError, "threshold"),
    ],
)
def test_wrong_input_is_an_error_that_says_what(given, error, complaint):
    with pytest.raises(error, match=complaint) as caught:
        apply(given)

    assert caught.value.error_type == error.__name__
