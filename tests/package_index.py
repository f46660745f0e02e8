"""A private package index on this machine, for whoever knows the password."""

import base64
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

USERNAME = "jane"
PASSWORD = "s3cr3t of/the@index"


class PackageIndex:
    """
    Serves wheels and source distributions below `/simple/`, after Basic authentication.

    Attributes:
        requests: Paths that were asked for, with whether the password was right.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, bool]] = []
        self._files: dict[str, bytes] = {}
        self._links: dict[str, list[str]] = {}
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index._answer(self)

            do_HEAD = do_GET  # noqa: N815 - as the library wants it

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add_wheel(self, name: str, version: str, source: str, *, is_absolute: bool = False) -> None:
        """Add a wheel with one module; its link may be a whole address."""
        content = wheel({f"{name}.py": source}, name, version)
        self._add(name, f"{name}-{version}-py3-none-any.whl", content, is_absolute=is_absolute)

    def add_source(self, name: str, version: str, backend: str) -> None:
        """Add a source distribution whose build runs *backend*, which makes `ready` a wheel."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            root = f"{name}-{version}"
            archive.writestr(f"{root}/backend.py", backend)
            archive.writestr(
                f"{root}/pyproject.toml",
                '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
                f'[project]\nname = "{name}"\nversion = "{version}"\n',
            )
        self._add(name, f"{name}-{version}.zip", content.getvalue())

    def _add(self, name: str, file: str, content: bytes, *, is_absolute: bool = False) -> None:
        path = f"/files/{file}"
        self._files[path] = content
        prefix = f"http://{self.address}" if is_absolute else ""
        self._links.setdefault(name, []).append(f'<a href="{prefix}{path}">{file}</a>')

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        is_known = handler.headers.get("Authorization") == f"Basic {wanted}"
        self.requests.append((handler.path, is_known))
        body, status, kind = b"", 401, "application/octet-stream"
        if is_known:
            links = self._links.get(handler.path.removeprefix("/simple/").rstrip("/"))
            body = "<br>".join(links).encode() if links else self._files.get(handler.path, b"")
            status, kind = (200 if body else 404), "text/html" if links else kind
        handler.send_response(status)
        if status == 401:
            handler.send_header("WWW-Authenticate", "Basic")
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


def wheel(files: dict[str, str], name: str, version: str) -> bytes:
    """Return a wheel that holds *files*, by path, however bad these are."""
    content = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        records = "".join(f"{path},,\n" for path in (*files, f"{info}/METADATA", f"{info}/WHEEL"))
        archive.writestr(f"{info}/RECORD", f"{records}{info}/RECORD,,\n")
    return content.getvalue()
