"""Requests become lines; responses are cut out of a stream, whatever a pipe makes of it."""

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from algorium_runtime.pipe_messages import (
    Handshake,
    OutOfStep,
    ResponseReader,
    decode_response,
    encode_request,
)
from algorium_runtime.values import InputError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(['"', "\\", '\\"', "}{][", '"}', "\\\\", "\u2028", "\n", '{"a":'])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
WHITE_SPACE = st.text(" \t\r\n", max_size=3).map(str.encode)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def read_all(reader: ResponseReader, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        response = reader.feed(piece)
        while response is not None:
            found.append(response)
            response = reader.feed(b"")
    return found


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(), VALUES),
            st.sampled_from([None, 2]),
            st.booleans(),
            WHITE_SPACE,
        ),
        max_size=4,
    ),
    st.lists(st.integers(0, 100_000), max_size=30),
)
def test_responses_end_where_their_braces_close(responses: Any, cuts: list[int]) -> None:
    texts = [
        json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
        for value, indent, ascii_only, _ in responses
    ]
    stream = b"".join(t + space for t, (_, _, _, space) in zip(texts, responses, strict=True))
    reader = ResponseReader()

    assert read_all(reader, pieces_of(stream, cuts)) == texts
    assert reader.is_between


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.integers(1, 40_000))
def test_large_responses_are_cut_out_whole(value: Any, size: int) -> None:
    large = {"padding": "x\\" * size, **value, "more": [value] * 20, "list": [[{}]] * size}
    text = json.dumps(large).encode()
    for step in (4096, 65_536, 1_000_003):
        reader = ResponseReader()
        stream = text + b"\n"
        found = read_all(reader, [stream[at : at + step] for at in range(0, len(stream), step)])

        assert found == [text]
        assert reader.is_between


def test_one_byte_after_the_other_is_enough() -> None:
    text = json.dumps({"result": 'a"\\"}{' * 50, "metadata": {"content_type": "text"}}).encode()

    assert read_all(ResponseReader(), [text[i : i + 1] for i in range(len(text))]) == [text]


@pytest.mark.parametrize("stream", [b"hello\n", b"3", b"null", b"[1]", b'"text"', b"}", b"\x00{}"])
def test_what_begins_no_response_is_out_of_step(stream: bytes) -> None:
    with pytest.raises(OutOfStep):
        ResponseReader().feed(b" \n" + stream)


def test_what_follows_a_response_is_kept() -> None:
    reader = ResponseReader()

    assert reader.feed(b'{"a":1}\n\n{"b"') == b'{"a":1}'
    assert not reader.is_between
    assert reader.feed(b":2}\n") == b'{"b":2}'
    assert reader.is_between
    assert reader.feed(b"{}oops") == b"{}"
    with pytest.raises(OutOfStep):
        reader.feed(b"")


def response(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        (b'{"result":"Hi","metadata":{"content_type":"text"}}', "text", b"Hi"),
        (b'{"result":"\\u00fc","metadata":{"content_type":"text"}}', "text", "ü".encode()),
        (b'{"result":"Hi","metadata":{"content_type":"json"}}', "json", b'"Hi"'),
        (b'{"result":"Hi"}', "text", b"Hi"),
        (b'{"result":"Hi","metadata":{"content_type":"strange"}}', "text", b"Hi"),
        (b'{"result":"Hi","metadata":null}', "text", b"Hi"),
        (b'{"result":"Hi","metadata":7}', "text", b"Hi"),
        (b'{"result":null,"metadata":{"content_type":"json"}}', "json", b"null"),
        (b'{"result":null}', "json", b"null"),
        (b'{"result":null,"error":null}', "json", b"null"),
        (b'{"result":1.50,"metadata":{"content_type":"text"}}', "json", b"1.50"),
        (b'{ "result" : [1,\n 2.0e400] , "x":{} }', "json", b"[1,\n 2.0e400]"),
        (b'{"result":123456789012345678901234567890}', "json", b"123456789012345678901234567890"),
        (b'{"metadata":{"content_type":"binary"},"result":"AP8="}', "binary", b"\x00\xff"),
        (b'{"metadata":{"content_type":"binary"},"result":"AP8"}', "binary", b"\x00\xff"),
        (b'{"metadata":{"content_type":"binary"},"result":"AP\\n8=\\n"}', "binary", b"\x00\xff"),
        (b'{"metadata":{"content_type":"binary"},"result":""}', "binary", b""),
        (b'{"result":1,"result":2}', "json", b"2"),
    ],
)
def test_results_are_read_leniently(data: bytes, content_type: str, body: bytes) -> None:
    assert decode_response(data) == (content_type, body, None)


@given(st.binary(max_size=300))
def test_base64_of_any_language_is_read(data: bytes) -> None:
    for text in (
        base64.b64encode(data),
        base64.encodebytes(data),
        base64.b64encode(data).rstrip(b"="),
    ):
        encoded = response(result=text.decode(), metadata={"content_type": "binary"})

        assert decode_response(encoded).body == data


@pytest.mark.parametrize(
    ("error", "message", "error_type", "stacktrace"),
    [
        ({"message": "no", "stacktrace": "t", "error_type": "InputError"}, "no", "InputError", "t"),
        ({"message": "no", "error_type": None}, "no", None, ""),
        ({"message": "no", "error_type": 5}, "no", None, ""),
        ({"message": "no"}, "no", None, ""),
        ({"message": "no", "stack_trace": "alias"}, "no", None, "alias"),
        ({"message": "no", "stacktrace": ["a", "b"]}, "no", None, "a\nb"),
        ({"message": {"a": 1}}, '{"a": 1}', None, ""),
        ({}, "the algorithm failed without a message", None, ""),
        ({"message": None}, "the algorithm failed without a message", None, ""),
        ("just words", "just words", None, ""),
    ],
)
def test_errors_are_read_leniently(
    error: Any, message: str, error_type: str | None, stacktrace: str
) -> None:
    failure = decode_response(response(error=error)).failure

    assert failure == (message, error_type, stacktrace)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"message":"the guide\'s form","error_type":"X"}',
        b'{"result"}',
        b'{"result":}',
        b'{"result":1,}',
        b'{"result" 1}',
        b'{"result":1 "metadata":{}}',
        b"{'result':1}",
        b'{"result":"\xff"}',
        b'{"result":"a\nb"}',
        b'{"result":"not base64!","metadata":{"content_type":"binary"}}',
        b'{"result":[1],"metadata":{"content_type":"binary"}}',
        b'{"result":1,"metadata":{"content_type":}}',
        b'{"result":1,"error":{]}',
        b'{"error":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_cannot_be_read_is_a_failure_of_the_call(data: bytes) -> None:
    failure = decode_response(data).failure

    assert failure is not None
    assert failure.message.startswith("result is not valid JSON")
    assert failure.error_type is None


def test_numbers_that_are_none_are_left_to_the_platform() -> None:
    """It checks every JSON result anyway; here they must only not break anything."""
    assert decode_response(b'{"result":[NaN, -Infinity]}').body == b"[NaN, -Infinity]"
    assert decode_response(b'{"result":NaN}').body == b"NaN"


@given(st.binary(max_size=200))
def test_nonsense_between_braces_never_raises(data: bytes) -> None:
    decode_response(b"{" + data + b"}")


@given(st.text())
@example('Grüße\n\u2028\u2029\r\x00"\\')
def test_text_becomes_one_line(text: str) -> None:
    body = text.encode("utf-8", "replace")
    line = encode_request("text", body)

    assert line.count(b"\n") == 1
    assert not {"\u2028", "\u2029", "\r"} & set(line.decode())
    assert json.loads(line) == {"content_type": "text", "data": body.decode()}


@given(VALUES, st.sampled_from([None, 1]))
def test_json_becomes_one_line(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    line = encode_request("json", text.encode("utf-8", "surrogatepass"))

    assert line.count(b"\n") == 1
    assert "\u2028" not in line.decode("utf-8", "surrogatepass")
    got = json.loads(line.decode("utf-8", "surrogatepass"))["data"]
    assert got == value or (isinstance(value, float) and math.isclose(got, value))


def test_numbers_reach_the_pipe_as_they_were_written() -> None:
    assert (
        encode_request("json", b"[1.50,1e400]") == b'{"content_type":"json","data":[1.50,1e400]}\n'
    )


@given(st.binary())
def test_bytes_become_base64(data: bytes) -> None:
    request = json.loads(encode_request("binary", data))

    assert request["content_type"] == "binary"
    assert base64.b64decode(request["data"], validate=True) == data


def test_inputs_that_are_not_what_they_say_are_refused() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        encode_request("text", b"\xff")
    with pytest.raises(InputError, match="content type"):
        encode_request("void", b"")


@given(
    st.lists(st.sampled_from(["hello", "", "x" * 100, "PIPE_INIT", "\u00e4"]), max_size=5),
    st.sampled_from(["PIPE_INIT_COMPLETE", '[1] "PIPE_INIT_COMPLETE"', "a PIPE_INIT_COMPLETE b"]),
    st.lists(st.sampled_from(["late", "", "PIPE_INIT_COMPLETE"]), max_size=3),
    st.lists(st.integers(0, 1000), max_size=10),
)
def test_the_handshakes_line_is_taken_out_and_nothing_else(
    before: list[str], line: str, after: list[str], cuts: list[int]
) -> None:
    def text(lines: list[str]) -> bytes:
        return "".join(f"{each}\n" for each in lines).encode()

    handshake = Handshake()
    stream = text([*before, line, *after])

    passed = b"".join(handshake.pass_on(piece) for piece in pieces_of(stream, cuts))

    assert handshake.is_complete
    assert passed == text([*before, *after])
    assert handshake.give_up() == b""


def test_an_unfinished_line_is_held_back_only_for_a_while() -> None:
    handshake = Handshake()

    assert handshake.pass_on(b"one\ntwo") == b"one\n"
    assert handshake.pass_on(b" and a half") == b""
    assert handshake.give_up() == b"two and a half"
    assert handshake.pass_on(b"x" * 100_000) == b"x" * 100_000
    assert not handshake.is_complete
