"""Where documents come from, and how they become words."""

import json
import re
import urllib.request

from .errors import EntityNotFoundError, InputError, ParsingError, TooLargeError

FILE_BYTES_MAX = 64 * 1024 * 1024  # the model keeps every word in memory several times
FETCH_TIMEOUT_S = 60

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+._-]*)://")
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def read_documents(source):
    """Return the documents as a list of strings: *source* is that list, or says where it is."""
    if isinstance(source, str):
        source = _parse_file(fetch(source))
    if not isinstance(source, list) or not all(isinstance(d, str) for d in source):
        raise InputError("docsList must be a list of strings, a data URI or a URL")
    return source


def fetch(uri):
    """Return the bytes behind a data URI or an http(s) URL."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        raise InputError(
            f"docsList is a single string and neither a data URI nor a URL: {uri[:100]!r}; "
            "wrap a single document in a list"
        )
    content = _download(uri) if scheme[1].lower() in {"http", "https"} else _read_data(uri)
    if len(content) > FILE_BYTES_MAX:
        raise TooLargeError(f"{uri} is larger than {FILE_BYTES_MAX} bytes")
    return content


def words_of(document, stop_words):
    """Return the lower-case words of a document that say something about its subject."""
    words = (w.lower().replace("\u2019", "'") for w in _WORD.findall(document))
    return [w for w in words if len(w) > 1 and w not in stop_words and not w.isdigit()]


def _parse_file(content):
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParsingError(f"the file of documents is not UTF-8: {error}") from error
    if not text.lstrip().startswith(("[", "{")):
        return [line for line in text.splitlines() if line.strip()]
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParsingError(f"the file of documents is not JSON: {error}") from error
    return value.get("docsList") if isinstance(value, dict) else value


def _download(url):
    try:
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_S) as response:
            return response.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
        reason = getattr(error, "reason", error)
        raise EntityNotFoundError(
            f"cannot fetch {url}: {reason}; where algorithms have no network, "
            "put the file into a data collection and give its data URI"
        ) from error


def _read_data(uri):
    # Only this way of input needs the client, whose import is most of this algorithm's start.
    import Algorithmia  # noqa: PLC0415
    from Algorithmia.errors import DataApiError  # noqa: PLC0415

    try:
        return Algorithmia.client().file(uri).getBytes()
    except DataApiError as error:
        raise EntityNotFoundError(f"cannot read {uri}: {error}") from error
