"""
A fake of Dropbox: the endpoints that connectors use, over TLS, with files in memory.

There is no Dropbox to be had for tests. This speaks its protocol to its own client library: the
routes, the forms of answers and errors, revisions, conflicts, upload sessions, content hashes,
ranges, and listings in pages and in no order. What it does not know it answers with 404.

Source: Dropbox, "HTTP API": files.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from peers import Peer, make_certificate

TOKEN = "sl.u.AFmEfOnlyForTests-0123456789abcdefghijklmnop"
_BLOCK_BYTES = 4 * 1024 * 1024
_ENTRIES_PER_PAGE_MAX = 500


class Refused(Exception):
    """An error that the API has words for."""

    def __init__(self, error: dict[str, Any], status: int = 409) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status


@dataclass
class Node:
    name: str
    content: bytes | None = None
    rev: str = ""


@dataclass
class Drive:
    """Files and folders, found without regard to case."""

    nodes: dict[str, Node] = field(default_factory=dict)
    revisions: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    sessions: dict[str, bytearray] = field(default_factory=dict)
    cursors: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    counter: Any = field(default_factory=lambda: itertools.count(0x5A0000001))
    lock: Any = field(default_factory=threading.RLock)

    def fresh(self) -> str:
        return f"{next(self.counter):015x}"

    def shown(self, path: str) -> dict[str, Any]:
        node = self.nodes[path]
        display = "/".join(
            ["", *(self.nodes[p].name if p in self.nodes else "" for p in _above(path)), node.name]
        )
        common = {
            "name": node.name,
            "path_lower": path,
            "path_display": display,
            "id": f"id:{path}",
        }
        if node.content is None:
            return {".tag": "folder", **common}
        return {
            ".tag": "file",
            **common,
            "client_modified": "2026-01-02T03:04:05Z",
            "server_modified": "2026-01-02T03:04:05Z",
            "rev": node.rev,
            "size": len(node.content),
            "is_downloadable": True,
            "content_hash": content_hash(node.content),
        }

    def write(self, commit: dict[str, Any], content: bytes) -> dict[str, Any]:
        path = commit["path"].lower()
        mode = commit.get("mode", "add")
        tag = mode if isinstance(mode, str) else mode[".tag"]
        is_strict = commit.get("strict_conflict", False)
        old = self.nodes.get(path)
        if old is not None:
            fits = tag == "overwrite" or (tag == "update" and mode["update"] == old.rev)
            if old.content is None:
                raise _refused_write("folder")
            if old.content == content and (tag == "overwrite" or not is_strict):
                return self.shown(path)  # the same bytes again are no new revision
            if not fits:
                raise _refused_write("file")
        elif tag == "update" and is_strict:
            raise _refused_write("file")
        self.make_folders(commit["path"])
        rev = self.fresh()
        self.nodes[path] = Node(commit["path"].rpartition("/")[2], content, rev)
        self.revisions[rev] = (path, content)
        return self.shown(path)

    def make_folders(self, path: str) -> None:
        for above in _above(path):
            found = self.nodes.setdefault(above.lower(), Node(above.rpartition("/")[2]))
            if found.content is not None:
                raise _refused_write("file_ancestor")

    def below(self, path: str, *, is_recursive: bool) -> list[dict[str, Any]]:
        found = [
            each
            for each in self.nodes
            if each.startswith(f"{path}/") and (is_recursive or "/" not in each[len(path) + 1 :])
        ]
        # In no order, but always in the same one.
        found.sort(key=lambda each: hashlib.md5(each.encode()).digest())
        return [self.shown(each) for each in found]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 16 * 2**20  # sent when the drive is free again: some clients read slowly
    drive: Drive

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            error = {".tag": "invalid_access_token"}
            self.answer(401, {"error_summary": "invalid_access_token/..", "error": error})
            return
        route = self.path.removeprefix("/2/files/").replace("/", "_")
        work = getattr(self, f"on_{route}", None)
        if work is None:
            self.answer(404, {"error_summary": "unknown"})
            return
        argument = self.headers.get("dropbox-api-arg")
        try:
            with self.drive.lock:
                work(json.loads(argument or body or b"null"), body)
        except Refused as refused:
            self.answer(refused.status, {"error_summary": "no/..", "error": refused.error})

    def answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("x-dropbox-request-id", "0123")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def on_get_metadata(self, argument: dict[str, Any], _: bytes) -> None:
        self.answer(200, self.drive.shown(self._found(argument["path"])))

    def on_list_folder(self, argument: dict[str, Any], _: bytes) -> None:
        path = argument["path"].lower()
        if path and self.drive.nodes[self._found(path)].content is not None:
            raise Refused({".tag": "path", "path": {".tag": "not_folder"}})
        is_recursive = argument.get("recursive", False)
        entries = self.drive.below(path, is_recursive=is_recursive)
        if is_recursive and path:
            entries.insert(0, self.drive.shown(path))
        self._page(entries)

    def on_list_folder_continue(self, argument: dict[str, Any], _: bytes) -> None:
        self._page(self.drive.cursors.pop(argument["cursor"]))

    def on_download(self, argument: dict[str, Any], _: bytes) -> None:
        path = argument["path"]
        if path.startswith("rev:"):
            if path[4:] not in self.drive.revisions:
                raise Refused({".tag": "path", "path": {".tag": "not_found"}})
            path, content = self.drive.revisions[path[4:]]
        else:
            content = self.drive.nodes[self._found(path)].content
        status, headers, whole = 200, {}, len(content)
        asked = self.headers.get("range")
        if asked is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            content = content[int(first) : int(last) + 1 if last else None]
            end = int(first) + len(content) - 1
            status, headers = 206, {"content-range": f"bytes {first}-{end}/{whole}"}
        result = self.drive.shown(path) if path in self.drive.nodes else {}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("dropbox-api-result", json.dumps(result))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def on_upload(self, argument: dict[str, Any], body: bytes) -> None:
        self._check_hash(argument, body)
        self.answer(200, self.drive.write(argument, body))

    def on_upload_session_start(self, argument: dict[str, Any], body: bytes) -> None:
        self._check_hash(argument, body)
        session = self.drive.fresh()
        self.drive.sessions[session] = bytearray(body)
        self.answer(200, {"session_id": session})

    def on_upload_session_append_v2(self, argument: dict[str, Any], body: bytes) -> None:
        self._check_hash(argument, body)
        self._session(argument["cursor"]).extend(body)
        self.answer(200, None)

    def on_upload_session_finish(self, argument: dict[str, Any], body: bytes) -> None:
        self._check_hash(argument, body)
        content = bytes(self._session(argument["cursor"])) + body
        shown = self.drive.write(argument["commit"], content)
        del self.drive.sessions[argument["cursor"]["session_id"]]
        self.answer(200, shown)

    def on_create_folder_v2(self, argument: dict[str, Any], _: bytes) -> None:
        path = argument["path"].lower()
        if path in self.drive.nodes:
            kind = "folder" if self.drive.nodes[path].content is None else "file"
            conflict = {".tag": "conflict", "conflict": {".tag": kind}}
            raise Refused({".tag": "path", "path": conflict})
        self.drive.make_folders(argument["path"])
        self.drive.nodes[path] = Node(argument["path"].rpartition("/")[2])
        self.answer(200, {"metadata": self.drive.shown(path)})

    def on_delete_v2(self, argument: dict[str, Any], _: bytes) -> None:
        path = self._found(argument["path"], tag="path_lookup")
        shown = self.drive.shown(path)
        if argument.get("parent_rev") not in {None, shown.get("rev")}:
            conflict = {".tag": "conflict", "conflict": {".tag": "file"}}
            raise Refused({".tag": "path_write", "path_write": conflict})
        for each in [each for each in self.drive.nodes if f"{each}/".startswith(f"{path}/")]:
            del self.drive.nodes[each]
        self.answer(200, {"metadata": shown})

    def _found(self, path: str, *, tag: str = "path") -> str:
        if path.lower() not in self.drive.nodes:
            raise Refused({".tag": tag, tag: {".tag": "not_found"}})
        return path.lower()

    def _session(self, cursor: dict[str, Any]) -> bytearray:
        session = self.drive.sessions[cursor["session_id"]]
        if len(session) != cursor["offset"]:
            error = {".tag": "incorrect_offset", "correct_offset": len(session)}
            raise Refused(error)
        return session

    def _page(self, entries: list[dict[str, Any]]) -> None:
        shown, rest = entries[:_ENTRIES_PER_PAGE_MAX], entries[_ENTRIES_PER_PAGE_MAX:]
        cursor = self.drive.fresh()
        self.drive.cursors[cursor] = rest
        self.answer(200, {"entries": shown, "cursor": cursor, "has_more": bool(rest)})

    def _check_hash(self, argument: dict[str, Any], body: bytes) -> None:
        told = argument.get("content_hash")
        if told is not None and told != content_hash(body):
            raise Refused({".tag": "content_hash_mismatch"})


@contextlib.contextmanager
def running_dropbox(directory: Path) -> Iterator[Peer]:
    """Run the fake with an empty drive."""
    certificate = directory / "certificate.pem"
    pem = make_certificate(certificate)
    drive = Drive()
    handler = type("DriveHandler", (Handler,), {"drive": drive})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    address = f"https://127.0.0.1:{server.server_port}"
    try:
        yield Peer(
            endpoint=address,
            cred_type="oauth",
            credentials={"access_token": TOKEN},
            options={"endpoint": address, "ca_certificate": pem},
            secrets=(TOKEN,),
            directory=directory,
            drive=drive,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def content_hash(content: bytes) -> str:
    """Return Dropbox's digest of a file: that of the digests of its blocks."""
    blocks = (
        hashlib.sha256(content[start : start + _BLOCK_BYTES]).digest()
        for start in range(0, len(content), _BLOCK_BYTES)
    )
    return hashlib.sha256(b"".join(blocks)).hexdigest()


def _above(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]


def _refused_write(kind: str) -> Refused:
    conflict = {".tag": "conflict", "conflict": {".tag": kind}}
    return Refused(
        {".tag": "path", "reason": conflict, "upload_session_id": base64.b16encode(b"x").decode()}
    )
