"""
What all stand-ins for providers have: users, repositories, keys, hooks, and real git servers.

A stand-in speaks its provider's API over HTTP and is strict: what the real one does not know, it
refuses, and notes as a complaint. Repositories are real: git's own programs serve them over HTTP,
to whoever shows a token, and over SSH, to whoever has a key. After a push the hooks are called,
with the provider's own bodies and true signatures.
"""

import asyncio
import base64
import json
import os
import re
import shlex
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import asyncssh
import httpx2

GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
_GIT = re.compile(r"(?:/scm)?/(?P<owner>[^/]+(?:/[^/]+)*?)/(?P<name>[^/]+)\.git(?P<rest>/.*)")


class Refusal(Exception):
    """An answer that is an error in the provider's own form."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


@dataclass
class Call:
    """A request to the API."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    user: str = ""

    @property
    def json(self) -> dict[str, Any]:
        assert self.headers.get("content-type", "").startswith("application/json"), "not JSON"
        return json.loads(self.raw)

    @property
    def form(self) -> dict[str, str]:
        is_form = self.headers.get("content-type") == "application/x-www-form-urlencoded"
        assert is_form, "not a form"
        return dict(parse_qsl(self.raw.decode(), strict_parsing=True, keep_blank_values=True))

    def basic(self) -> tuple[str, str]:
        """Return name and password of HTTP Basic, empty if there are none."""
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        name, _, password = base64.b64decode(rest).decode().partition(":")
        return name, password

    def bearer(self) -> str:
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        return rest if scheme.lower() in {"bearer", "token"} else ""


@dataclass
class Repo:
    number: int
    owner: str
    name: str
    path: Path
    branch: str = ""
    unique: str = field(default_factory=lambda: f"{{{uuid.uuid4()}}}")
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    hooks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env=GIT_ENV,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def heads(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads")
        return dict(line.split() for line in lines.splitlines())


@dataclass
class Delivery:
    """A message that was sent to a hook, and what came back."""

    url: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: str = ""

    def send(self) -> "Delivery":
        answer = httpx2.post(self.url, content=self.body, headers=self.headers, timeout=60)
        self.status, self.answer = answer.status_code, answer.text
        return self


Route = tuple[str, re.Pattern[str], Callable[..., Any]]


class Place:
    """
    One provider's installation.

    Attributes:
        complaints: Requests that the real provider would not understand.
        deliveries: Messages to hooks, oldest first.
    """

    user: ClassVar[str] = "octojane"
    organization: ClassVar[str] = "octolab"
    client_id: ClassVar[str] = "Iv1.client"
    client_secret: ClassVar[str] = "app-secret-0123456789"
    password: ClassVar[str] = ""
    first_branch: ClassVar[str] = "main"
    provider: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http_port = self.ssh_port = 0
        self.tokens: dict[str, str] = {"pat-of-octojane-0123456789": self.user}
        self.codes: dict[str, tuple[str, str]] = {}
        self.repos: dict[int, Repo] = {}
        self.complaints: list[str] = []
        self.deliveries: list[Delivery] = []
        self.calls: list[str] = []
        self.broken: dict[tuple[str, str], int] = {}
        self.sends_hooks = True
        self._numbers = iter(range(1000, 10_000_000))
        self._lock = threading.RLock()

    # What a provider says of itself

    def routes(self) -> list[Route]:
        raise NotImplementedError

    def authenticate(self, call: Call) -> None:
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> Refusal:
        raise NotImplementedError

    def push_messages(
        self, repo: Repo, hook: dict[str, Any], changes: dict[str, tuple[str, str]]
    ) -> list[Delivery]:
        raise NotImplementedError

    def urls(self) -> dict[str, str]:
        raise NotImplementedError

    # Addresses

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def ssh(self) -> str:
        return f"ssh://git@127.0.0.1:{self.ssh_port}"

    def scm(self, scm_id: str) -> dict[str, Any]:
        """Return what an administrator says of this place."""
        oauth = {"client_id": self.client_id, "client_secret": self.client_secret}
        return {
            "id": scm_id,
            "provider": self.provider,
            "name": f"Our {self.provider}",
            "urls": self.urls(),
            "oauth": oauth,
        }

    def clone_url(self, repo: Repo) -> str:
        return f"http://{self.user}:{self.token}@127.0.0.1:{self.http_port}/{repo.full_name}.git"

    # Repositories

    @property
    def token(self) -> str:
        return "pat-of-octojane-0123456789"

    def next(self) -> int:
        return next(self._numbers)

    def create(self, owner: str, name: str) -> Repo:
        with self._lock:
            number = self.next()
            path = self.directory / f"{number}.git"
            subprocess.run(
                ["git", "init", "-q", "--bare", f"--initial-branch={self.first_branch}", str(path)],
                env=GIT_ENV,
                check=True,
            )
            repo = Repo(number=number, owner=owner, name=name, path=path)
            repo.git("config", "http.receivepack", "true")
            self.repos[number] = repo
            return repo

    def find(self, owner: str, name: str) -> Repo | None:
        wanted = f"{owner}/{name}".lower()
        return next((r for r in self.repos.values() if r.full_name.lower() == wanted), None)

    def repo(self, owner: str, name: str) -> Repo:
        found = self.find(owner, name)
        if found is None:
            raise self.refusal(404, "Not Found")
        return found

    def may_create_in(self, owner: str) -> bool:
        return owner.lower() in {self.user, self.organization}

    def add_key(self, repo: Repo, title: str, key: str) -> int:
        material = " ".join(key.split()[:2])
        try:
            asyncssh.import_public_key(material)
        except asyncssh.KeyImportError:
            raise self.refusal(
                422, "key is invalid. You must supply a key in OpenSSH format"
            ) from None
        if any(material == known for r in self.repos.values() for _, known in r.keys.values()):
            raise self.refusal(422, "key is already in use")
        number = self.next()
        repo.keys[number] = (title, material)
        return number

    def pushed(self, repo: Repo, before: dict[str, str]) -> None:
        """Have the hooks of a repository called about what a push has changed."""
        after = repo.heads()
        nothing = "0" * 40
        changes = {
            name: (before.get(name, nothing), after.get(name, nothing))
            for name in {*before, *after}
            if before.get(name) != after.get(name)
        }
        if not repo.branch and after:
            repo.branch = next(iter(after)).removeprefix("refs/heads/")
            repo.git("symbolic-ref", "HEAD", f"refs/heads/{repo.branch}")
        if not changes or not self.sends_hooks:
            return
        for hook in list(repo.hooks.values()):
            for delivery in self.push_messages(repo, hook, changes):
                self.deliveries.append(delivery.send())

    def set_branch(self, repo: Repo, branch: str) -> None:
        repo.branch = branch
        repo.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    # HTTP

    def answer(self, call: Call) -> tuple[int, Any, dict[str, str]]:
        self.calls.append(f"{call.method} {call.path}")
        try:
            for method, pattern, handler in self.routes():
                match = pattern.fullmatch(call.path)
                if match is None or method != call.method:
                    continue
                broken = self.broken.get((method, pattern.pattern))
                if broken:
                    raise self.refusal(broken, "something is broken here")
                if not getattr(handler, "is_open", False):
                    self.authenticate(call)
                try:
                    done = handler(call, *(unquote(part) for part in match.groups()))
                except (AssertionError, KeyError, ValueError) as error:
                    self.complaints.append(f"{call.method} {call.path}: {error!r}")
                    raise self.refusal(422, f"Invalid request: {error}") from error
                status, body, *headers = done
                return status, body, headers[0] if headers else {}
        except Refusal as refusal:
            return refusal.status, refusal.body, refusal.headers
        self.complaints.append(f"{call.method} {call.path}: no such route")
        return 404, {"message": "no such route"}, {}

    def login(self, name: str, password: str) -> str:
        """Return whose name and password git shows, empty if nobody's."""
        if self.password and (name, password) == (self.user, self.password):
            return self.user
        return self.tokens.get(password, "")

    def git_over_http(self, call: Call, match: re.Match[str]) -> tuple[int, bytes, dict[str, str]]:
        who = self.login(*call.basic())
        if not who:
            headers = {"WWW-Authenticate": 'Basic realm="git"'}
            return 401, b"HTTP Basic: Access denied\n", headers
        repo = self.find(match["owner"], match["name"])
        if repo is None:
            return 404, b"Repository not found\n", {}
        before = repo.heads()
        env = {
            **GIT_ENV,
            "GIT_PROJECT_ROOT": str(self.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{repo.path.name}{match['rest']}",
            "REQUEST_METHOD": call.method,
            "QUERY_STRING": "&".join(f"{k}={v}" for k, v in call.query.items()),
            "CONTENT_TYPE": call.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": call.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": call.headers.get("git-protocol", ""),
            "REMOTE_USER": who,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(call.raw)),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=call.raw, env=env, capture_output=True, check=False
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(fields.pop("Status", "200").split()[0])
        if match["rest"] == "/git-receive-pack":
            self.pushed(repo, before)
        return status, body, fields


class Handler(BaseHTTPRequestHandler):
    """HTTP of a place."""

    protocol_version = "HTTP/1.1"
    place: Place

    def _handle(self) -> None:
        split = urlsplit(self.path)
        call = Call(
            method=self.command,
            path=split.path,
            query={k: v[-1] for k, v in parse_qs(split.query, keep_blank_values=True).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            raw=self._body(),
        )
        match = _GIT.fullmatch(split.path)
        if match is not None:
            status, body, headers = self.place.git_over_http(call, match)
        else:
            status, value, headers = self.place.answer(call)
            body = b"" if value is None else json.dumps(value).encode()
            headers = {"Content-Type": "application/json", **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815 - the library's names

    def log_message(self, *_arguments: object) -> None:
        pass


class _SshServer(asyncssh.SSHServer):
    """SSH of a place: whoever has the key of some repository gets in."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection

    def begin_auth(self, _username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        material = " ".join(key.export_public_key().decode().split()[:2])
        self._connection.set_extra_info(key=material)
        known = (k for repo in self._place.repos.values() for _, k in repo.keys.values())
        return username == "git" and material in known


async def _serve_git(place: Place, process: "asyncssh.SSHServerProcess[bytes]") -> None:
    words = shlex.split(process.command or "")
    owner, _, name = (words[1] if len(words) == 2 else "").strip("/").rpartition("/")
    repo = place.find(owner, name.removesuffix(".git"))
    material = process.get_extra_info("key")
    if repo is None or material not in {key for _, key in repo.keys.values()}:
        process.stderr.write(b"ERROR: Repository not found.\n")
        process.exit(1)
        return
    if words[0] != "git-upload-pack":
        process.stderr.write(b"ERROR: The key you are authenticating with is read only.\n")
        process.exit(1)
        return
    child = await asyncio.create_subprocess_exec(
        "git-upload-pack",
        str(repo.path),
        env={**GIT_ENV, "GIT_PROTOCOL": process.env.get("GIT_PROTOCOL", "")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    listening = asyncio.ensure_future(_hear(process, child.stdin))
    while chunk := await child.stdout.read(65536):
        process.stdout.write(chunk)
        await process.stdout.drain()
    process.stderr.write(await child.stderr.read())
    code = await child.wait()
    process.exit(code)
    listening.cancel()
    await asyncio.wait({listening})


async def _hear(process: "asyncssh.SSHServerProcess[bytes]", program: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await process.stdin.read(65536):
            program.write(chunk)
            await program.drain()
        program.close()


@contextmanager
def running(place: Place) -> Iterator[Place]:
    """Serve a place over HTTP and SSH."""
    place.directory.mkdir(parents=True, exist_ok=True)
    handler = type("PlaceHandler", (Handler,), {"place": place})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    place.http_port = server.server_port
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    loop = asyncio.new_event_loop()
    spinning = threading.Thread(target=loop.run_forever, daemon=True)
    spinning.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _SshServer(place),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=lambda process: _serve_git(place, process),
            encoding=None,
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    place.ssh_port = acceptor.get_port()

    async def close() -> None:
        acceptor.close()
        await acceptor.wait_closed()

    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()
        asyncio.run_coroutine_threadsafe(close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        spinning.join(10)
        loop.close()


def no_key(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a handler that asks for nothing, or asks by itself."""
    handler.is_open = True  # type: ignore[attr-defined]
    return handler
