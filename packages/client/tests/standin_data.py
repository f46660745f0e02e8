"""
What the stand-in does with files: the Data API with conditions, parts and resumable uploads.

With `is_old` it does what the old service did, and nothing newer.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

USER = "ada"
PAGE_ENTRIES = 3
MODIFIED = "2020-03-18T17:00:33.000Z"
MODIFIED_HTTP = "Wed, 18 Mar 2020 17:00:33 GMT"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Directory:
    read: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Upload:
    upload_id: str
    uri: str
    part_bytes: int
    size_bytes: int | None
    conditions: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        shown = {
            "upload_id": self.upload_id,
            "uri": self.uri,
            "part_bytes": self.part_bytes,
            "parts_max": 10_000,
            "expires_at": "2030-01-01T00:00:00.000Z",
        }
        return shown if self.size_bytes is None else {**shown, "size_bytes": self.size_bytes}


class Refused(Exception):
    def __init__(self, status: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, **fields}}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def etag(content: bytes) -> str:
    return f"v-{md5(content)[:12]}"


class Data:
    """The part of the handler that looks after files."""

    server_state: Any
    command: str

    def _answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        raise NotImplementedError

    def _answer_json(self, status: int, value: Any, **headers: str) -> None:
        raise NotImplementedError

    def _data(self, request: Recorded) -> None:
        segments = self._segments(request.path.removeprefix("/v1/connector/data"))
        with self.server_state.lock:
            getattr(self, f"_data_{self.command.lower()}")(segments, request)

    def _segments(self, path: str) -> list[str]:
        segments = [part for part in unquote(path).strip("/").split("/") if part]
        if segments and segments[0] == USER:
            segments[0] = ".my"
        if segments[:1] not in ([], [".my"]):
            raise Refused(404, "path not found")
        return segments

    def _directory(self, segments: list[str]) -> Directory:
        directory = self.server_state.directories.get(segments[1]) if len(segments) > 1 else None
        if directory is None:
            raise Refused(404, "path not found")
        found: Directory = directory
        return found

    def _file(self, segments: list[str]) -> bytes:
        files = self._directory(segments).files
        if segments[2] not in files:
            raise Refused(404, "path not found")
        return files[segments[2]]

    def _data_get(self, segments: list[str], request: Recorded) -> None:
        if len(segments) == 3:
            self._send_file(self._file(segments), request)
            return
        listing = self._listing(segments, request.query)
        self._answer_json(200, listing, X_Data_Type="directory")

    _data_head = _data_get

    def _send_file(self, content: bytes, request: Recorded) -> None:
        octets = "application/octet-stream"
        if self.server_state.is_old:
            self._answer(200, content, octets, X_Data_Type="file")
            return
        self._check_conditions(content, request.headers)
        headers = {
            "X_Data_Type": "file",
            "Accept_Ranges": "bytes",
            "ETag": f'"{etag(content)}"',
            "Last_Modified": MODIFIED_HTTP,
            "X_Content_MD5": md5(content),
        }
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        version = request.headers.get("if-range", headers["ETag"])
        if part is None or version != headers["ETag"]:
            self._answer(200, content, octets, **headers)
            return
        start, end = int(part[1]), min(int(part[2] or len(content)) + 1, len(content))
        if start >= len(content):
            self._answer(416, b"", octets, Content_Range=f"bytes */{len(content)}")
            return
        headers["Content_Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        self._answer(206, content[start:end], octets, **headers)

    def _check_conditions(self, content: bytes | None, headers: dict[str, str]) -> None:
        wanted = headers.get("if-match")
        if wanted is not None and (content is None or wanted != f'"{etag(content)}"'):
            raise Refused(412, "the file is not in the state that the request demands")
        if headers.get("if-none-match") == "*" and content is not None:
            raise Refused(412, "the file is not in the state that the request demands")

    def _listing(self, segments: list[str], query: dict[str, str]) -> dict[str, Any]:
        folders = [] if len(segments) > 1 else sorted(self.server_state.directories)
        folders = folders if segments else [USER]
        files = sorted(self._directory(segments).files.items()) if len(segments) > 1 else []
        entries: list[Any] = [(name, None) for name in folders] + files
        start = int(query.get("marker", "0"))
        chosen = entries[start : start + PAGE_ENTRIES]
        listing: dict[str, Any] = {
            "folders": [{"name": name} for name, content in chosen if content is None],
            "files": [
                {"filename": name, "size": len(content), "last_modified": MODIFIED}
                for name, content in chosen
                if content is not None
            ],
        }
        if start + PAGE_ENTRIES < len(entries):
            listing["marker"] = str(start + PAGE_ENTRIES)
        if query.get("acl") == "true" and len(segments) == 2:
            listing["acl"] = {"read": self._directory(segments).read}
        return listing

    def _data_put(self, segments: list[str], request: Recorded) -> None:
        if len(segments) != 3:
            raise Refused(400, "not a file", code=6001)
        content = request.body
        if not self.server_state.is_old:
            self._check_conditions(self._content(segments), request.headers)
            self._check_digest(request)
            content = self._transferred(request)
        self._store(segments, content)
        told = {} if self.server_state.is_old else {"ETag": f'"{etag(content)}"'}
        self._answer_json(200, {"result": f"data://{'/'.join(segments)}"}, **told)

    def _content(self, segments: list[str]) -> bytes | None:
        directory = self.server_state.directories.get(segments[1])
        return None if directory is None else directory.files.get(segments[2])

    def _store(self, segments: list[str], content: bytes) -> None:
        self._directory(segments).files[segments[2]] = content

    def _check_digest(self, request: Recorded) -> None:
        told = request.headers.get("content-md5")
        if told and base64.b64decode(told) != hashlib.md5(request.body).digest():
            raise Refused(400, "the bytes have changed on their way", code=2015)

    def _transferred(self, request: Recorded) -> bytes:
        copied, moved = (request.headers.get(f"x-{verb}-from") for verb in ("copy", "move"))
        source = copied or moved
        if source is None:
            return request.body
        segments = self._segments(unquote(source).removeprefix("data://"))
        content = self._file(segments)
        if moved:
            del self._directory(segments).files[segments[2]]
        return content

    def _data_post(self, segments: list[str], request: Recorded) -> None:
        wanted = json.loads(request.body)
        name = wanted["name"]
        if len(segments) > 1:
            raise Refused(400, "there are no directories in directories", code=6001)
        if not name.isidentifier():
            raise Refused(400, f"{name!r} cannot be a directory name", code=6001)
        if name in self.server_state.directories:
            raise Refused(409, "directory already exists")
        read = (wanted.get("acl") or {}).get("read", ["algo://.my/*"])
        self.server_state.directories[name] = Directory(read=read)
        self._answer_json(200, {"result": f"data://.my/{name}"})

    def _data_patch(self, segments: list[str], request: Recorded) -> None:
        self._directory(segments).read = json.loads(request.body)["acl"]["read"]
        self._answer(200, b"", "application/json")

    def _data_delete(self, segments: list[str], request: Recorded) -> None:
        directory = self._directory(segments)
        if len(segments) == 3:
            self._check_conditions(self._file(segments), request.headers)
            del directory.files[segments[2]]
            self._answer_json(200, {"result": {"deleted": 1}})
            return
        if directory.files and request.query.get("force") != "true":
            raise Refused(400, "directory not empty", code=2015)
        del self.server_state.directories[segments[1]]
        self._answer_json(200, {"result": {"deleted": len(directory.files) + 1}})

    # Resumable uploads

    def _uploads(self, request: Recorded) -> None:
        if self.server_state.is_old:
            raise Refused(404, f"nothing answers at {request.path}")
        rest = [part for part in request.path.split("/") if part][2:]
        with self.server_state.lock:
            match request.method, rest:
                case "POST", []:
                    self._begin_upload(request)
                case "GET", []:
                    begun = [u for u in self.server_state.uploads.values() if u.result is None]
                    self._answer_json(200, {"results": [upload.shown() for upload in begun]})
                case "GET", [upload_id]:
                    upload = self._upload(upload_id)
                    parts = [_part(*part) for part in sorted(upload.parts.items())]
                    self._answer_json(200, {**upload.shown(), "parts": parts})
                case "PUT", [upload_id, "parts", number]:
                    self._put_part(self._upload(upload_id), int(number), request)
                case "POST", [upload_id, "complete"]:
                    self._complete(self._upload(upload_id), json.loads(request.body))
                case "DELETE", [upload_id]:
                    self._upload(upload_id)
                    del self.server_state.uploads[upload_id]
                    self._answer(204, b"", "application/json")

    def _upload(self, upload_id: str) -> Upload:
        if upload_id not in self.server_state.uploads:
            raise Refused(404, "upload not found")
        found: Upload = self.server_state.uploads[upload_id]
        return found

    def _begin_upload(self, request: Recorded) -> None:
        wanted = json.loads(request.body)
        segments = self._segments(wanted["uri"].removeprefix("data://"))
        self._directory(segments)
        self._check_conditions(self._content(segments), request.headers)
        upload = Upload(
            upload_id=f"upload{len(self.server_state.uploads) + 1}",
            uri=wanted["uri"],
            part_bytes=wanted.get("part_bytes", 1024),
            size_bytes=wanted.get("size_bytes"),
            conditions={n: v for n, v in request.headers.items() if n.startswith("if-")},
        )
        self.server_state.uploads[upload.upload_id] = upload
        self._answer_json(201, upload.shown())

    def _put_part(self, upload: Upload, number: int, request: Recorded) -> None:
        if upload.result is not None:
            raise Refused(400, "the upload is finished", code=6001)
        self._check_digest(request)
        upload.parts[number] = request.body
        self._answer_json(200, _part(number, request.body))

    def _complete(self, upload: Upload, wanted: dict[str, Any]) -> None:
        if upload.result is None:
            content = b"".join(content for _, content in sorted(upload.parts.items()))
            if sorted(upload.parts) != list(range(1, wanted["parts_count"] + 1)):
                raise Refused(400, "parts are missing", code=6001)
            if wanted.get("md5", md5(content)) != md5(content):
                raise Refused(400, "the md5 of what arrived is another one", code=2015)
            segments = self._segments(upload.uri.removeprefix("data://"))
            self._check_conditions(self._content(segments), upload.conditions)
            self._store(segments, content)
            upload.result = {
                "result": upload.uri,
                "etag": etag(content),
                "md5": md5(content),
                "size_bytes": len(content),
            }
        self._answer_json(200, upload.result)

    # Connectors and storage

    def _connectors(self, request: Recorded) -> None:
        _, _, owner, _, *rest = [part for part in request.path.split("/") if part]
        connectors = self.server_state.connectors
        if owner != USER:
            raise Refused(403, "Caller is not authorized to perform the operation", code=2001)
        if rest and rest[0] not in connectors:
            raise Refused(404, "connector not found")
        match request.method, rest:
            case "GET", []:
                start = int(request.query.get("marker", "0"))
                results = list(connectors.values())[start : start + PAGE_ENTRIES]
                listing: dict[str, Any] = {"results": results}
                if start + PAGE_ENTRIES < len(connectors):
                    listing["marker"] = str(start + PAGE_ENTRIES)
                self._answer_json(200, listing)
            case "POST", []:
                wanted = json.loads(request.body)
                if any(wanted["label"] == known["label"] for known in connectors.values()):
                    raise Refused(409, "the label is taken")
                connector_id = f"connector{len(connectors) + 1}"
                connectors[connector_id] = {"connector_id": connector_id, **_shown(wanted)}
                self._answer_json(200, connectors[connector_id])
            case "GET", [connector_id]:
                self._answer_json(200, connectors[connector_id])
            case "PUT", [connector_id]:
                connectors[connector_id] |= _shown(json.loads(request.body))
                self._answer_json(200, connectors[connector_id])
            case "DELETE", [connector_id]:
                del connectors[connector_id]
                self._answer(204, b"", "application/json")
            case "POST", [connector_id, "test"]:
                writes = "write" in connectors[connector_id]["permissions"]
                failed = {"ok": False, "message": "AccessDenied"} if writes else None
                fine = {"ok": True, "message": ""}
                report = {"list": fine, "read": fine, "write": failed, "delete": failed}
                self._answer_json(200, report)

    def _storage(self, request: Recorded) -> None:
        account = request.query.get("account", USER)
        if account != USER:
            raise Refused(404, "no such account")
        files = [f for each in self.server_state.directories.values() for f in each.files.values()]
        use = {"username": account, "bytes": sum(map(len, files)), "files": len(files)}
        self._answer_json(200, {**use, "bytes_max": 1000, "files_max": None})


def _part(number: int, content: bytes) -> dict[str, Any]:
    return {"number": number, "size_bytes": len(content), "md5": md5(content)}


def _shown(wanted: dict[str, Any]) -> dict[str, Any]:
    kept = ("username", "protocol", "label", "is_default", "path", "options")
    shown = {name: wanted[name] for name in kept if name in wanted}
    if "writeable" in wanted:
        shown["permissions"] = ["read", "write"] if wanted["writeable"] else ["read"]
    return {**shown, "created_at": MODIFIED}
