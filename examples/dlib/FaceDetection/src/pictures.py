"""Read pictures from data URIs and URLs, draw boxes, store the result."""

import io
import os
import re
import urllib.request

import Algorithmia
from Algorithmia.errors import DataApiError
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from .errors import EntityNotFoundError, InputError, TooLargeError, UnsupportedError

FILE_BYTES_MAX = 64 * 1024 * 1024
PIXELS_MAX = 40_000_000  # 120 MB as RGB, four times that while searching at double size
FETCH_TIMEOUT_S = 60
BOX_COLOUR = (0, 230, 64)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+._-]*)://.")


def format_of(uri):
    """Return the format to store a picture in, told by the extension of its data URI."""
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() in {"http", "https"}:
        raise InputError(f"output must be a data URI, not {uri[:100]!r}")
    extension = os.path.splitext(uri)[1].lower()
    if extension not in FORMATS:
        raise UnsupportedError(f"output must end in {', '.join(FORMATS)}, not {uri[:100]!r}")
    return FORMATS[extension]


def read_picture(uri):
    """Return the picture behind a data URI or an http(s) URL, upright and in RGB."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        raise InputError(f"url must be a data URI or a URL, not {uri[:100]!r}")
    content = _download(uri) if scheme[1].lower() in {"http", "https"} else _read_data(uri)
    if len(content) > FILE_BYTES_MAX:
        raise TooLargeError(f"{uri} is larger than {FILE_BYTES_MAX} bytes")
    try:
        picture = Image.open(io.BytesIO(content))
        if picture.width * picture.height > PIXELS_MAX:
            raise TooLargeError(
                f"{uri} has {picture.width} x {picture.height} pixels, "
                f"at most {PIXELS_MAX} in all can be searched"
            )
        return ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnsupportedError(f"{uri} is not a picture that can be read: {error}") from error
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"{uri} has too many pixels: {error}") from error


def store_with_boxes(picture, faces, uri):
    """Draw a box around every face into a copy of the picture and store it."""
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(max(picture.size) / 200))
    for face in faces:
        box = (face["left"], face["top"], face["right"], face["bottom"])
        pen.rectangle(box, outline=BOX_COLOUR, width=width)
    buffer = io.BytesIO()
    drawn.save(buffer, format_of(uri))
    try:
        Algorithmia.client().file(uri).put(buffer.getvalue())
    except Exception as error:  # the client raises a bare one when it is refused
        raise InputError(f"cannot write {uri}: {error}") from error


def _download(url):
    # Some sites answer nothing to programs that do not introduce themselves.
    request = urllib.request.Request(url, headers={"User-Agent": "FaceDetection/0.2"})
    try:
        with urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S) as response:
            return response.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
        reason = getattr(error, "reason", error)
        raise EntityNotFoundError(
            f"cannot fetch {url}: {reason}; where algorithms have no network, "
            "put the picture into a data collection and give its data URI"
        ) from error


def _read_data(uri):
    try:
        return Algorithmia.client().file(uri).getBytes()
    except DataApiError as error:
        raise EntityNotFoundError(f"cannot read {uri}: {error}") from error
