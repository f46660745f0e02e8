"""
Chaos: mixed load from several accounts while processes of the server are killed at random.

A storm has *clients*, threads that make one kind of request after the other and judge every answer,
and one *killer* that picks a process and a moment. Everything random comes from one seed, though
not the order in which threads run. What must hold:

- every request ends by its deadline and 3 s, or with its connection when the gateway is killed;
- an answer is right, or an error that says what happened; never the answer of somebody else;
- a void call that was acknowledged runs once at most;
- at the end nothing is left: no process, control group, mount or temporary file.
"""

import hashlib
import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from processes import processes_with
from running import RunningServer
from waiting import wait_until

SLACK_S: Final = 3.0
TIMEOUT_S: Final = 10
SLEEPER_TIMEOUT_S: Final = 1
BIG_BYTES: Final = 1024 * 1024
CHILDREN: Final = 3

_ASK = """
import json, os, urllib.error, urllib.request

def ask(method, path, body=None):
    request = urllib.request.Request(
        os.environ["ALGORITHMIA_API"] + path, data=body, method=method,
        headers={"Content-Type": "application/json"} if body is not None else {},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()
"""
SOURCES: Final = {
    "storm/Echo": "def apply(input):\n    return input\n",
    "storm/Fails": "def apply(input):\n    raise ValueError(input)\n",
    "storm/Sleeps": "import time\ndef apply(input):\n    time.sleep(30)\n",
    "storm/Parent": f"""{_ASK}
def apply(input):
    answers = [
        json.loads(ask("POST", "/v1/algo/storm/Echo", json.dumps([input, n]).encode()))
        for n in range({CHILDREN})
    ]
    for answer in answers:
        if "error" in answer:
            raise RuntimeError(answer["error"]["error_type"] + " of a child")
    return [answer["result"] for answer in answers]
""",
    "storm/Notes": f"""{_ASK}
import uuid
def apply(input):
    ask("PUT", "/v1/data/.my/notes/" + input + "--" + uuid.uuid4().hex, input.encode())
    return None
""",
}

ENDINGS: Final = frozenset({"SystemExit", "SystemError", "TimeoutError"})
"""Error types that a call may end in whose slot was killed."""
_OF_A_CHILD: Final = re.compile(
    r"^(HTTP Error (429|503)\b|(SystemExit|SystemError|TimeoutError) of)"
)
"""What a parent says whose child's slot was killed."""
BUSY: Final = frozenset({429, 503})
"""Statuses of a server that cannot take a call now, and says so."""


@dataclass(kw_only=True)
class Ledger:
    """
    What clients went through; threads add to it.

    Attributes:
        answers: How often what happened, by kind of request and end.
        wrong: Answers that are not right, in words.
        late: Requests that took too long, in words.
        notes: Acknowledged void calls, by account.
    """

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    notes: dict[str, set[str]] = field(default_factory=dict)


class Client(threading.Thread):
    """Makes requests for one account until told to stop."""

    def __init__(
        self, storm: "Storm", account: str, key: str, *, chance: random.Random, name: str
    ) -> None:
        super().__init__(daemon=True, name=name)
        self._storm = storm
        self._account = account
        self._headers = {"Authorization": f"Simple {key}"}
        self._chance = chance
        self._count = 0
        self._kinds: Sequence[tuple[Callable[[httpx2.Client, str], None], int]] = (
            (self._echo, 40),
            (self._big, 8),
            (self._nested, 12),
            (self._fail, 8),
            (self._sleep, 2),
            (self._note, 8),
            (self._upload, 10),
        )

    def run(self) -> None:
        """Make requests."""
        kinds, weights = zip(*self._kinds, strict=True)
        while not self._storm.is_over.is_set():
            with (
                suppress(_ConnectionLost),
                httpx2.Client(headers=self._headers, timeout=60) as http,
            ):
                while not self._storm.is_over.is_set():
                    self._count += 1
                    token = f"{self.name}-{self._count}"
                    self._chance.choices(kinds, weights)[0](http, token)
            self._storm.is_up.wait(60)

    def _echo(self, http: httpx2.Client, token: str) -> None:
        value = [token, self._chance.random(), {"nested": [None, True, "日本"]}]
        answer = self._call(http, "Echo", json=value)
        self._judge("echo", answer, lambda: answer.json()["result"] == value)

    def _big(self, http: httpx2.Client, _: str) -> None:
        body = self._chance.randbytes(BIG_BYTES)
        answer = self._call(
            http, "Echo", content=body, output="raw",
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        self._judge("1 MiB", answer, lambda: answer.content == body)

    def _nested(self, http: httpx2.Client, token: str) -> None:
        answer = self._call(http, "Parent", json=token)
        expected = [[token, number] for number in range(CHILDREN)]
        self._judge("nested", answer, lambda: answer.json()["result"] == expected, nested=True)

    def _fail(self, http: httpx2.Client, token: str) -> None:
        answer = self._call(http, "Fails", json=token)

        def is_right() -> bool:
            error = answer.json()["error"]
            return error["error_type"] == "AlgorithmError" and error["message"] == token

        self._judge("error", answer, is_right)

    def _sleep(self, http: httpx2.Client, _: str) -> None:
        answer = self._call(http, "Sleeps", json=None, timeout_s=SLEEPER_TIMEOUT_S)
        self._judge("timeout", answer, lambda: "error" in answer.json())

    def _note(self, http: httpx2.Client, token: str) -> None:
        answer = self._call(http, "Notes", json=token, output="void")
        if answer.status_code == 200:
            self._storm.ledger.notes.setdefault(self._account, set()).add(token)
        self._judge("void", answer, lambda: answer.json()["async"] == "void")

    def _upload(self, http: httpx2.Client, token: str) -> None:
        body = self._chance.randbytes(self._chance.choice((0, 100, 100_000, 1_000_000)))
        path = f"/v1/data/.my/storm/{self.name}-{self._count % 5}"
        stored = self._request(http, "PUT", path, content=body)
        self._judge("upload", stored, lambda: True)
        if stored.status_code == 200:
            found = self._request(http, "GET", path)
            digest = hashlib.sha256(body).digest()
            self._judge("download", found, lambda: hashlib.sha256(found.content).digest() == digest)

    def _call(
        self,
        http: httpx2.Client,
        name: str,
        *,
        timeout_s: int = TIMEOUT_S,
        output: str = "",
        **options: Any,
    ) -> httpx2.Response:
        query = {"timeout": timeout_s, "output": output}
        path = f"/v1/algo/storm/{name}"
        return self._request(http, "POST", path, timeout_s=timeout_s, params=query, **options)

    def _request(
        self,
        http: httpx2.Client,
        method: str,
        path: str,
        *,
        timeout_s: int = TIMEOUT_S,
        **options: Any,
    ) -> httpx2.Response:
        self._storm.is_up.wait(60)
        began = time.monotonic()
        try:
            return http.request(method, self._storm.server.api + path, **options)
        except httpx2.TransportError as error:
            if self._storm.is_up.is_set() and not self._storm.was_down_since(began):
                self._storm.ledger.wrong.append(f"{method} {path}: lost for no reason: {error!r}")
            self._storm.ledger.answers["connection lost"] += 1
            raise _ConnectionLost from error
        finally:
            took_s = time.monotonic() - began
            if took_s > timeout_s + SLACK_S:
                self._storm.ledger.late.append(
                    f"{method} {path} {options.get('params')}: {took_s:.1f} s"
                )

    def _judge(
        self,
        kind: str,
        answer: httpx2.Response,
        is_right: Callable[[], bool],
        *,
        nested: bool = False,
    ) -> None:
        ledger = self._storm.ledger
        if answer.status_code in BUSY:
            ledger.answers[f"{kind}: {answer.status_code}"] += 1
            return
        error_type, message = _error(answer)
        if error_type in ENDINGS or (nested and _OF_A_CHILD.search(message)):
            ledger.answers[f"{kind}: {error_type}"] += 1
            return
        try:
            right = (answer.status_code == 200) and is_right()
        except (ValueError, KeyError, TypeError):
            right = False
        ledger.answers[f"{kind}: {'right' if right else 'WRONG'}"] += 1
        if not right:
            ledger.wrong.append(f"{kind}: {answer.status_code} {answer.text[:300]}")


class _ConnectionLost(Exception):
    """The gateway was killed, one hopes."""


def _error(answer: httpx2.Response) -> tuple[str, str]:
    """Return type and text of the error in an envelope, empty if there is none."""
    with suppress(ValueError, TypeError, AttributeError, KeyError):
        error = answer.json()["error"]
        return error.get("error_type", ""), error.get("message", "")
    return "", ""


@dataclass(kw_only=True)
class Storm:
    """
    The whole of it.

    Attributes:
        server: Running, with `SOURCES` published; killed and started again in between.
        keys: By account.
        seed: Everything random comes from it.
    """

    server: RunningServer
    keys: Mapping[str, str]
    seed: int
    clients_per_account: int = 2
    ledger: Ledger = field(default_factory=Ledger)
    kills: Counter[str] = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)
    is_up: threading.Event = field(default_factory=threading.Event)
    supervisors: set[int] = field(default_factory=set)
    resident: list[tuple[float, int, int]] = field(default_factory=list)
    _down_at: float = 0.0

    def was_down_since(self, began: float) -> bool:
        """Whether the gateway was killed after that moment, or right before it."""
        return self._down_at > began - SLACK_S

    def prepare(self) -> None:
        """Make the collections that clients use."""
        for key in self.keys.values():
            for name in ("storm", "notes"):
                made = httpx2.post(
                    f"{self.server.api}/v1/data/.my",
                    json={"name": name},
                    headers={"Authorization": f"Simple {key}"},
                )
                assert made.status_code == 200, made.text
        self.is_up.set()

    def rage(
        self,
        seconds: float,
        *,
        gateway_kills_max: int,
        gateway_pause_s: float = 0.0,
        kills_min: int = 0,
    ) -> None:
        """
        Let clients and killer loose, then wait until all requests have ended.

        Args:
            seconds: For so long.
            kills_min: And until so many were killed: a slow machine starts the server for seconds.
            gateway_kills_max: So often the gateway is killed at most.
            gateway_pause_s: So long it lives at least.
        """
        chance = random.Random(self.seed)
        clients = [
            Client(
                self, account, key, chance=random.Random(chance.random()), name=f"{account}{number}"
            )
            for account, key in self.keys.items()
            for number in range(self.clients_per_account)
        ]
        for client in clients:
            client.start()
        began = time.monotonic()
        try:
            while time.monotonic() - began < seconds or sum(self.kills.values()) < kills_min:
                time.sleep(chance.uniform(0.1, 0.8))  # the moment of a crash, no synchronisation
                is_due = (
                    self.kills["gateway"] < gateway_kills_max
                    and time.monotonic() - max(self._down_at, began) > gateway_pause_s
                )
                self._kill_something(chance, is_gateway_due=is_due)
                self._note_memory(began)
        finally:
            self.is_over.set()
        for client in clients:
            client.join(60)
        hung = [client.name for client in clients if client.is_alive()]
        assert not hung, f"these clients wait for an answer for ever: {hung}"

    def calm_round(self, calls: int) -> None:
        """Make calls when nobody is killed any more: all of them are right at once."""
        wait_until(self._has_settled, timeout_s=30, what="the last death has been noticed")
        for account, key in self.keys.items():
            headers = {"Authorization": f"Simple {key}"}
            with httpx2.Client(headers=headers, timeout=60) as http:
                for number in range(calls):
                    ref = "storm/Parent" if number % 10 == 0 else "storm/Echo"
                    value = f"calm-{account}-{number}"
                    answer = http.post(f"{self.server.api}/v1/algo/{ref}", json=value)
                    expected = [[value, n] for n in range(CHILDREN)] if ref[6] == "P" else value
                    assert answer.json().get("result") == expected, answer.text

    def _has_settled(self) -> bool:
        """Whether every account's slots, those of nested calls included, answer."""
        return all(
            httpx2.post(
                f"{self.server.api}/v1/algo/storm/Parent",
                json="settled",
                headers={"Authorization": f"Simple {key}"},
                timeout=60,
            )
            .json()
            .get("result")
            for key in self.keys.values()
        )

    def notes_written(self) -> dict[str, Counter[str]]:
        """Return how often each void call ran, by account."""
        found = {}
        for account, key in self.keys.items():
            headers = {"Authorization": f"Simple {key}"}
            counts: Counter[str] = Counter()
            marker = ""
            while True:
                listing = httpx2.get(
                    f"{self.server.api}/v1/data/.my/notes",
                    params={"marker": marker} if marker else {},
                    headers=headers,
                ).json()
                for entry in listing.get("files", []):
                    counts[entry["filename"].partition("--")[0]] += 1
                marker = listing.get("marker", "")
                if not marker:
                    break
            found[account] = counts
        return found

    def _kill_something(self, chance: random.Random, *, is_gateway_due: bool) -> None:
        supervisor = find_supervisor(self.server.pid)
        if supervisor:
            self.supervisors.add(supervisor)
        what = chance.choices(("slot", "zygote", "supervisor", "gateway"), (60, 15, 8, 5))[0]
        if what == "gateway":
            if is_gateway_due:
                self.kills["gateway"] += 1
                self._kill_gateway()
            return
        if not supervisor:
            return
        below = descendants(supervisor)
        zygotes = [pid for pid in below if b"--zygote" in command_of(pid)]
        victims = {"slot": below, "zygote": zygotes, "supervisor": [supervisor]}[what]
        if victims:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
                self.kills[what] += 1

    def _kill_gateway(self) -> None:
        self.is_up.clear()
        self._down_at = time.monotonic()
        self.server.kill()
        self._down_at = time.monotonic()
        wait_until(
            lambda: not processes_with(str(self.server.home)), timeout_s=15,
            what="everything below the gateway ends with it",
        )  # fmt: skip
        self.server.start()
        self.is_up.set()

    def _note_memory(self, began: float) -> None:
        pid = self.server.pid
        with suppress(OSError, ValueError):
            self.resident.append((time.monotonic() - began, pid, resident_bytes(pid)))


def find_supervisor(gateway: int) -> int:
    """Return the supervisor's process id, 0 while there is none."""
    return next((p for p in children(gateway) if b"engine.supervisor" in command_of(p)), 0)


def descendants(pid: int) -> list[int]:
    """Return everything below a process."""
    found, pending = [], [pid]
    while pending:
        below = children(pending.pop())
        found += below
        pending += below
    return found


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
            found += map(int, text.split())
    return found


def command_of(pid: int) -> bytes:
    """Return a command line, empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is really there."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def left_behind(storm: Storm, *, mounts_before: set[str]) -> list[str]:
    """Say what a stopped server has left on this host: nothing, one hopes."""
    home = storm.server.home
    left = [f"process {pid}" for pid in processes_with(str(home))]
    left += [f"mount {line}" for line in mounts() - mounts_before if str(home) in line]
    for pattern in ("sandboxes/slots-*/*", "blobs/incoming/*", "envs/.resolve-*", "builds/*.work"):
        left += map(str, home.glob(pattern))
    groups = [f"algorium-{pid}-" for pid in storm.supervisors]
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        left += [f"{folder}/{name}" for name in names if name.startswith(tuple(groups))]
    return left


def mounts() -> set[str]:
    """Return the mounts that this process sees, one line each."""
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def report(storm: Storm) -> str:
    """Say in a few lines what happened."""
    ledger = storm.ledger
    return "\n".join(
        [
            f"seed {storm.seed}",
            f"killed {json.dumps(dict(storm.kills))}",
            f"answers {json.dumps(dict(sorted(ledger.answers.items())), indent=1)}",
            f"{len(ledger.wrong)} wrong, {len(ledger.late)} late",
        ]
    )
