"""Sources that answer what they should not: nothing is believed, lost, or shown that is secret."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from algorium_server.data.dropbox import Dropbox
from algorium_server.data.objects import Objects
from algorium_server.data.refusals import Scrubber
from algorium_server.data.s3 import S3Service
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.errors import AlgoriumError, PartlyDeleted, SourceFailed

CREDENTIALS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "a-secret/+0123"}
FOLDER = (
    b"<ListBucketResult><CommonPrefixes><Prefix>%sf/</Prefix></CommonPrefixes></ListBucketResult>"
)

Answer = tuple[int, dict[str, str], bytes]


@asynccontextmanager
async def serving(answer: Callable[[str, str, dict[str, str]], Answer]) -> AsyncIterator[str]:
    """Run a server that gives *answer* to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            await reader.readexactly(int(fields.get("content-length", "0")))
            method, target, _ = head[0].split(" ")
            status, headers, body = answer(method, target, fields)
            headers = {"content-length": str(len(body)), "connection": "close", **headers}
            lines = [f"HTTP/1.1 {status} It", *(f"{k}: {v}" for k, v in headers.items())]
            writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
            if method != "HEAD":
                writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def source(
    answer: Callable[[str, str, dict[str, str]], Answer], *, region: str = "us-east-1"
) -> AsyncIterator[Objects]:
    """Run such a server, and open it as S3."""
    async with serving(answer) as endpoint:
        options = ConnectorOptions(endpoint=endpoint, allow_http=True, region=region)
        connector = Objects(S3Service(CREDENTIALS, options, Scrubber(CREDENTIALS.values())))
        try:
            yield connector
        finally:
            await connector.close()


async def of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def page_of(body: bytes):
    async def check():
        async with source(lambda *_: (200, {}, body)) as connector:
            return await connector.page(("bucket", "dir"))

    return asyncio.run(check())


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>InternalError</Code><Message>We broke</Message></Error>",
        b"<html><body>Sign in to use this network</body></html>",
        b"<ListBucketResult>",
        b"",
        b"<ListBucketResult>" + b"<b/>" * 300_000 + b"</ListBucketResult>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>',
    ],
    ids=["error", "html", "cut", "empty", "endless", "entities"],
)
def test_what_is_no_listing_is_not_an_empty_directory(body):
    with pytest.raises(SourceFailed):
        page_of(body)


def test_a_listing_has_only_what_was_asked_for():
    page = page_of(
        b"<ListBucketResult><Contents><Key>secret</Key></Contents><Contents><Key>dir/a</Key>"
        b"</Contents><CommonPrefixes><Prefix>elsewhere/</Prefix></CommonPrefixes>"
        b"</ListBucketResult>"
    )

    assert (page.folders, [entry.name for entry in page.files]) == ((), ["a"])


def test_proofs_that_a_source_quotes_are_not_shown():
    def answer(_method, _target, fields):
        said = f"You sent {fields.get('authorization')} and Bearer ya29.token-of-google"
        return 400, {}, f"<Error><Code>No</Code><Message>{said}</Message></Error>".encode()

    async def check():
        async with source(answer) as connector:
            works = (
                connector.page(("bucket", "dir")),
                connector.write(("bucket", "file"), of(b"x")),
                connector.open(("bucket", "file")),
            )
            return await asyncio.gather(*works, return_exceptions=True)

    for error in asyncio.run(check()):
        assert isinstance(error, SourceFailed)
        assert "You sent" in error.message
        texts = f"{error.message} {error.detail}"
        assert "***" in texts
        assert "ya29" not in texts
        assert not any(len(word) == 64 for word in texts.replace("=", " ").split())


def test_a_region_that_cannot_be_is_not_believed():
    def answer(_method, _target, fields):
        scope = fields.get("authorization", "/us-east-1/")
        assert "/us-east-1/" in scope
        return 200, {"x-amz-bucket-region": "\xe9/../x"}, b"<ListBucketResult/>"

    async def check():
        async with source(answer, region="") as connector:
            return await connector.page(("bucket",))

    assert asyncio.run(check()).files == ()


def test_parts_that_cannot_be_put_together_are_a_failure_and_taken_back():
    seen = []

    def answer(method, target, _fields):
        seen.append((method, target.partition("?")[2]))
        if "?uploads" in target:
            body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId>"
            return 200, {}, body + b"</InitiateMultipartUploadResult>"
        if method == "PUT":
            return 200, {"etag": '"e"'}, b""
        # As S3 does it: a success, in whose body there is none.
        return 200, {}, b"<Error><Code>InternalError</Code><Message>We broke</Message></Error>"

    async def check():
        async with source(answer) as connector:
            chunks = of(*[bytes(1024 * 1024)] * 10)
            await connector.write(("bucket", "file"), chunks, size_bytes=10 * 1024 * 1024)

    with pytest.raises(SourceFailed):
        asyncio.run(check())
    assert seen[-1] == ("DELETE", "uploadId=u")


def test_directories_without_end_are_not_followed_for_ever():
    def answer(method, target, _fields):
        if method == "HEAD":
            return 404, {}, b""
        prefix = target.partition("prefix=")[2].partition("&")[0].replace("%2F", "/")
        return 200, {}, FOLDER % prefix.encode()

    async def check():
        async with source(answer) as connector:
            return await connector.delete(("bucket", "dir"), is_forced=True)

    with pytest.raises(AlgoriumError, match="without end") as refused:
        asyncio.run(check())
    assert not isinstance(refused.value, PartlyDeleted)


def test_what_could_not_be_deleted_is_told_with_what_was():
    gone = []

    def answer(method, target, _fields):
        path = target.partition("?")[0]
        if method == "HEAD":
            return 404, {}, b""
        if method == "DELETE" and path.endswith("/b"):
            said = b"<Error><Code>AccessDenied</Code><Message>b is held</Message></Error>"
            return 403, {}, said
        if method == "DELETE":
            gone.append(path)
            return 204, {}, b""
        keys = b"".join(b"<Contents><Key>dir/%s</Key></Contents>" % name for name in KEYS)
        return 200, {}, b"<ListBucketResult>" + keys + b"</ListBucketResult>"

    async def check():
        async with source(answer) as connector:
            return await connector.delete(("bucket", "dir"), is_forced=True)

    with pytest.raises(PartlyDeleted) as refused:
        asyncio.run(check())
    assert refused.value.fields["deleted"] == 2
    assert "b is held" in refused.value.detail
    assert sorted(gone) == ["/bucket/dir/a", "/bucket/dir/c"]


KEYS = (b"a", b"b", b"c")


@pytest.mark.parametrize("status", [200, 302, 401, 409])
@pytest.mark.parametrize("body", ["<html>", "{}", "[]", "null", '{"error": {".tag": "x"}}'])
def test_answers_that_are_not_dropboxs_are_failures_of_the_source(status, body):
    headers = {"content-type": "application/json", "location": "http://127.0.0.1:1/"}

    async def check():
        async with serving(lambda *_: (status, headers, body.encode())) as endpoint:
            options = ConnectorOptions(endpoint=endpoint, allow_http=True)
            connector = Dropbox({"access_token": "sl.token"}, options, Scrubber(["sl.token"]))
            works = (
                connector.page(("dir",)),
                connector.open(("file",)),
                connector.write(("file",), of(b"x")),
                connector.create_directory(("dir",)),
                connector.delete(("file",), is_forced=True),
            )
            errors = await asyncio.gather(*works, return_exceptions=True)
            await connector.close()
            return errors

    assert {type(error) for error in asyncio.run(check())} == {SourceFailed}
