"""
A front for the emulator of Google Cloud Storage: the XML API's writes, in terms of its JSON API.

obstore writes and deletes by the XML API, which the emulator only reads by. So these requests are
translated, parts of a large upload are held here until they are put together, and everything else
goes through as it is.

Source: Google, "Cloud Storage XML API": PUT Object, copies, multipart uploads.
"""

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

HOST = "storage.test"
"""What the emulator knows the XML API by."""
_PASSED = frozenset({"etag", "last-modified", "content-type", "content-range", "x-goog-generation"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for head and body
    port: int
    uploads: dict[str, dict[int, bytes]]
    numbers: Iterator[int]

    def log_message(self, *_: object) -> None:
        pass

    def answer_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        is_json = parts.path.startswith(("/storage/", "/upload/", "/_internal"))
        if is_json or self.command in {"GET", "HEAD"}:
            headers = {"host": self.headers["host"] if is_json else HOST}
            for name in ("range", "content-type"):
                if self.headers.get(name):
                    headers[name] = self.headers[name]
            self.reply(*self.ask(self.command, self.path, headers, body))
            return
        _, bucket, key = parts.path.split("/", 2)
        bucket, key = unquote(bucket), unquote(key)
        match self.command, sorted(query):
            case "PUT", ["partNumber", "uploadId"]:
                self.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
                self.reply(200, {"etag": f'"{query["partNumber"][0]}"'}, b"")
            case "PUT", _ if self.headers.get("x-goog-copy-source"):
                self.copy(bucket, key)
            case "PUT", _:
                self.store(bucket, key, body)
            case "POST", ["uploads"]:
                upload = f"upload-{next(self.numbers)}"
                self.uploads[upload] = {}
                self.xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
                         "</InitiateMultipartUploadResult>")  # fmt: skip
            case "POST", ["uploadId"]:
                pieces = self.uploads.pop(query["uploadId"][0])
                whole = b"".join(pieces[number] for number in sorted(pieces))
                status, headers, told = self.upload(bucket, key, whole)
                if status != 200:
                    self.reply(status, headers, told)
                    return
                self.xml("<CompleteMultipartUploadResult><ETag>whole</ETag>"
                         "</CompleteMultipartUploadResult>", headers)  # fmt: skip
            case "DELETE", ["uploadId"]:
                self.uploads.pop(query["uploadId"][0], None)
                self.reply(204, {}, b"")
            case _:
                path = f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"
                status, headers, told = self.ask("DELETE", path, {}, b"")
                self.reply(204 if status == 200 else status, headers, told)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer_any  # noqa: N815 - as the library calls them

    def store(self, bucket: str, key: str, body: bytes) -> None:
        status, headers, told = self.upload(bucket, key, body)
        self.reply(status, headers, b"" if status == 200 else told)

    def copy(self, bucket: str, key: str) -> None:
        source = unquote(self.headers["x-goog-copy-source"]).lstrip("/")
        other, _, name = source.partition("/")
        ends = (
            f"b/{quote(b, safe='')}/o/{quote(k, safe='')}"
            for b, k in ((other, name), (bucket, key))
        )
        path = f"/storage/v1/{'/rewriteTo/'.join(ends)}"
        status, _, told = self.ask("POST", path, {}, b"")
        self.reply(status, {"etag": '"copied"'}, b"" if status == 200 else told)

    def upload(self, bucket: str, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        query = {"uploadType": "media", "name": key}
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None:
            query["ifGenerationMatch"] = wanted
        path = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o?{urlencode(query)}"
        kind = {"content-type": "application/octet-stream"}
        status, headers, told = self.ask("POST", path, kind, body)
        if status == 200:
            where = f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}?alt=media"
            _, found, _ = self.ask("GET", where, {}, b"")
            headers = {name: value for name, value in found.items() if name in _PASSED}
            headers.setdefault("etag", '"unknown"')
        return status, headers, told

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body=body or None, headers=headers)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            told = response.read()
        return response.status, fields, told

    def xml(self, text: str, headers: dict[str, str] | None = None) -> None:
        self.reply(200, {**(headers or {}), "content-type": "application/xml"}, text.encode())

    def reply(self, status: int, headers: dict[str, Any], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name in _PASSED:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header(
            "content-length", headers.get("content-length", "0") if is_head else str(len(body))
        )
        self.end_headers()
        if not is_head:
            self.wfile.write(body)


@contextlib.contextmanager
def running_front(port: int) -> Iterator[str]:
    """Serve in front of the emulator on *port*; yields the address."""
    fields = {"port": port, "uploads": {}, "numbers": itertools.count(1)}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("FrontHandler", (Handler,), fields))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
