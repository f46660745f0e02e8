"""
Inputs of calls: what kind the head announces, and whether the body is that.

Source: wire specification, "Calling algorithms".
"""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final

from algorium_server.api.bodies import kept
from algorium_server.api.heads import Head
from algorium_server.api.http import Scope, header
from algorium_server.domain.calls import Body, CallInput, ContentType, content_of, is_json
from algorium_server.domain.errors import (
    InvalidInput,
    MalformedJson,
    UnsupportedContentType,
)

_INPUT_TYPES: Final = {
    b"application/json": ContentType.JSON,
    b"text/plain": ContentType.TEXT,
    b"application/text": ContentType.TEXT,
    b"application/octet-stream": ContentType.BINARY,
}


def input_type(scope: Scope) -> ContentType | None:
    """
    Return the announced type of the input, None if none is announced.

    Raises:
        UnsupportedContentType: It is none that algorithms know.
    """
    raw = header(scope, b"content-type") or b""
    content_type = _INPUT_TYPES.get(raw)  # as most clients spell it
    if content_type is None:
        media_type = raw.partition(b";")[0].strip().lower()
        content_type = _INPUT_TYPES.get(media_type)
        if content_type is None and media_type:
            raise UnsupportedContentType(f"unsupported content type {raw.decode('latin-1')!r}")
    return content_type


def read_input(head: Head, body: Body) -> CallInput:
    """
    Make the input of a call of its body.

    Raises:
        UnsupportedContentType: There is a body, but nothing says what it is.
        MalformedJson: It is not JSON.
        InvalidInput: It is not UTF-8, or not base64.
    """
    content_type = head.content_type
    if content_type is None:
        if len(body):
            raise UnsupportedContentType("unsupported content type ''")
        return CallInput(content_type=ContentType.JSON, body=b"null")
    if head.is_base64:
        try:
            return CallInput(content_type=content_type, body=kept(b64decode(content_of(body))))
        except Base64Error:
            raise InvalidInput("The body is not valid base64") from None
    if content_type is not ContentType.BINARY:
        _check(content_type, content_of(body))
    return CallInput(content_type=content_type, body=body)


def _check(content_type: ContentType, body: bytes) -> None:
    if content_type is ContentType.JSON:
        if not is_json(body):
            raise MalformedJson("Invalid JSON")
        return
    if body.isascii():
        return
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The text is not valid UTF-8: byte {error.start}") from None
