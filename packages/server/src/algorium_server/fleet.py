"""
Several gateways on one machine, and their parent: this process.

The parent has what there is once: the home's lock, the bound socket, the first start, the lines on
standard output. It starts the gateways, each a fresh interpreter (`member.py`), and takes part in
no request. Gateways know nothing of one another but what they share: the database, the socket, the
tables of open calls and of connections.

| happens              | then                                                                  |
|----------------------|-----------------------------------------------------------------------|
| every gateway serves | one of them gets the duties: tidying up, the demo, clean-ups          |
| these are done       | every gateway reads what has changed; the server is ready             |
| a gateway dies       | its open calls are no longer counted; it is started again; if it had  |
|                      | the duties, another one gets them                                     |
| SIGTERM, SIGINT      | gateways get SIGTERM, and some time                                   |
| the parent dies      | the kernel kills the gateways, and their supervisors end their slots  |

A server that was ready stays ready while a gateway is started again: the others serve, and a
balancer in front of it must not turn its callers away.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from algorium_server.announcing import announce
from algorium_server.backup.upgrading import upgrade_if_asked
from algorium_server.control import Assignment, Line
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import (
    GATEWAY_ATTEMPTS_MAX,
    GATEWAY_RESTART_S_FIRST,
    GATEWAY_RESTART_S_MAX,
    GATEWAY_STEADY_S,
    GATEWAY_STOP_S,
    MIB,
)
from algorium_server.engine import cgroups, memory
from algorium_server.home import clear_sandboxes, first_start, locked, open_database
from algorium_server.listening import Loads, address_of, allow_many_connections, listen
from algorium_server.options import ENVIRONMENT_PREFIX
from algorium_server.services.calling.admission import AdmissionTable
from algorium_server.services.calling.rates import RateTable
from algorium_server.services.people.guessing import GuessTable
from algorium_server.settings import Settings
from algorium_server.telemetry import configure, logger

_PROGRAM: Final = (sys.executable, "-I", "-m", "algorium_server.member")

_log = logger(__name__)


def serve(settings: Settings) -> int:
    """
    Run the server, with several gateways, until it is told to stop.

    Returns:
        The exit code: 0 after a clean stop.

    Raises:
        AlgoriumError: It cannot start; the message says why and what to do.
    """
    configure(settings.log_level, settings.log_format)
    allow_many_connections()
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        lock_fd = stack.enter_context(locked(settings.home))
        clear_sandboxes(settings.home)
        await upgrade_if_asked(settings)
        cgroups.make_way()
        listening = stack.enter_context(listen(settings.host, settings.port))
        api = settings.public_url.rstrip("/") or address_of(settings.host, listening)
        since = datetime.now(UTC)
        async with await open_database(settings) as database:
            credentials = await first_start(database, settings)
        fleet = Fleet(_completed(settings), api=api, since=since, lock_fd=lock_fd, socket=listening)
        await stack.enter_async_context(fleet)
        if await fleet.is_ready_before(stopping):
            announce(
                settings,
                api,
                sandbox=fleet.sandbox,
                credentials=credentials,
                has_hello=fleet.has_hello,
            )
            fleet.open()
            await stopping.wait()
        _log.info("stopping", grace_s=settings.shutdown_grace_s)
    return 0


def _completed(settings: Settings) -> Settings:
    """Decide here what gateways would otherwise each decide for themselves, at other times."""
    budget_mib = settings.memory_budget_mib or memory.default_budget_bytes() // MIB
    return replace(settings, memory_budget_mib=max(budget_mib, 1))


class _Member:
    """
    What the parent knows of one gateway.

    Attributes:
        is_serving: It answers requests.
        is_caught_up: It knows everything that was written before the server became ready.
        deaths: How many times in a row it died young.
        last_words: Why it cannot start, as message and hint.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.line: Line | None = None
        self.is_serving = False
        self.is_caught_up = False
        self.deaths = 0
        self.last_words: tuple[str, str] | None = None


class Fleet:
    """
    The gateways of one home. Entered, they are started; left, they are stopped.

    Attributes:
        sandbox: What the host's sandbox gives, in a line, once a gateway serves.
        has_hello: There is a demo algorithm to show.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        api: str,
        since: datetime,
        lock_fd: int,
        socket: socket.socket,
    ) -> None:
        gateways = settings.workers
        self.sandbox = ""
        self.has_hello = False
        self._listening = socket
        self._assignment = Assignment(
            settings=settings,
            number=0,
            gateways=gateways,
            api=api,
            since=since,
            state={},
            listening_fd=socket.fileno(),
            admission_fd=_shared_memory(),
            rates_fd=_shared_memory(),
            guesses_fd=_shared_memory(),
            loads_fd=_shared_memory(),
            lock_fd=lock_fd,
        )
        self._admission = AdmissionTable(self._assignment.admission_fd, gateways=gateways)
        self._admission.salt(secrets.token_bytes(16))
        RateTable(self._assignment.rates_fd).salt(secrets.token_bytes(16))
        GuessTable(self._assignment.guesses_fd).salt(secrets.token_bytes(16))
        self._loads = Loads(self._assignment.loads_fd, gateways=gateways)
        self._members = [_Member(number) for number in range(gateways)]
        self._leader: _Member | None = None
        self._has_led = False
        self._is_open = False
        self._stopping = asyncio.Event()
        self._demo = "building" if settings.demo else ""
        self._problem: Unavailable | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Fleet":
        loop = asyncio.get_running_loop()
        for member in self._members:
            self._loads.leave(member.number)
            self._keepers.append(loop.create_task(self._keep(member)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop: no new connections, then SIGTERM, and SIGKILL for who does not end in time."""
        self._stopping.set()
        self._listening.close()
        self._signal(signal.SIGTERM)
        patience_s = 2 * self._assignment.settings.shutdown_grace_s + GATEWAY_STOP_S
        late = (await asyncio.wait(self._keepers, timeout=patience_s))[1]
        if late:
            _log.error("gateways do not end and are killed", gateways=len(late))
            self._signal(signal.SIGKILL)
            await asyncio.wait(late)
        os.close(self._assignment.admission_fd)
        os.close(self._assignment.rates_fd)
        os.close(self._assignment.guesses_fd)
        os.close(self._assignment.loads_fd)

    async def is_ready_before(self, stopping: asyncio.Event) -> bool:
        """
        Wait until every gateway serves, the duties are done, and everybody knows what came of it.

        Args:
            stopping: Gives up waiting.

        Returns:
            Whether the server is ready, before *stopping* was set.

        Raises:
            Unavailable: A gateway cannot start.
        """
        waiting = asyncio.get_running_loop().create_task(stopping.wait())
        waiting.add_done_callback(lambda _: self._news.set())
        try:
            for step in (
                lambda: all(member.is_serving for member in self._members),
                lambda: self._has_led,
                lambda: all(member.is_caught_up for member in self._members),
            ):
                if not await self._until(step, stopping):
                    return False
        finally:
            waiting.cancel()
        return True

    def open(self) -> None:
        """Tell everybody that the server is ready."""
        self._is_open = True
        self._tell_state()

    async def _until(self, condition: Callable[[], bool], stopping: asyncio.Event) -> bool:
        while not condition():
            if stopping.is_set():
                return False
            if self._problem is not None:
                raise self._problem
            self._news.clear()
            await self._news.wait()
        return not stopping.is_set()

    # The life of one gateway

    async def _keep(self, member: _Member) -> None:
        """Start a gateway, and start it again whenever it has died."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_at = loop.time()
            status: int | None = None
            try:
                status = await self._run(member)
            except Exception as error:  # such as no more processes: it may be over soon
                _log.error("a gateway cannot be started or heard", exc_info=error)
            if self._stopping.is_set():
                return
            member.deaths = 1 if loop.time() - started_at > GATEWAY_STEADY_S else member.deaths + 1
            if not self._is_open and (
                member.last_words is not None or member.deaths >= GATEWAY_ATTEMPTS_MAX
            ):
                message, hint = member.last_words or ("A gateway does not start; see the log", "")
                self._problem = Unavailable(message, hint=hint)
                self._news.set()
                return
            pause_s = _pause_s(member.deaths)
            reason = member.last_words[0] if member.last_words else ""
            _log.error(
                "a gateway died",
                gateway=member.number,
                status=status,
                reason=reason,
                restart_s=pause_s,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run(self, member: _Member) -> int:
        """Run a gateway to its end, and clean up behind it; return its exit status."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            mine = replace(self._assignment, number=member.number, state=self._state())
            process = await asyncio.create_subprocess_exec(
                *_PROGRAM,
                str(theirs.fileno()),
                f"gateway-{member.number}",  # these two for `ps` only
                str(mine.settings.home),
                stdin=asyncio.subprocess.DEVNULL,
                env=_environment(),
                pass_fds=(theirs.fileno(), *mine.descriptors),
            )
            line = await Line.open(ours.dup())
        member.process, member.line, member.last_words = process, line, None
        try:
            line.tell("assignment", **mine.as_dict())
            if self._stopping.is_set():
                process.terminate()
            async for event, told in line.hear():
                self._hear(member, event, told)
        finally:
            member.line = None
            member.is_serving = member.is_caught_up = False
            self._loads.leave(member.number)
            await line.close()
            await self._bury(member, process)
        assert process.returncode is not None, "it has ended"
        return process.returncode

    async def _bury(self, member: _Member, process: asyncio.subprocess.Process) -> None:
        """Wait for a gateway to end that says nothing any more, and take back what it held."""
        try:
            await asyncio.wait_for(process.wait(), GATEWAY_STOP_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        member.process = None
        self._admission.clear(member.number)
        if self._leader is member:
            self._leader = None
            self._appoint()
        self._tell_state()

    # What gateways say, and are told

    def _hear(self, member: _Member, event: str, told: dict[str, Any]) -> None:
        match event:
            case "serving":
                self.sandbox = told["sandbox"]
                member.is_serving = True
                member.is_caught_up = self._has_led  # it has just read everything
                self._appoint()
                self._tell_state()
            case "led":
                self._demo, self.has_hello = told["demo"], told["has_hello"]
                if not self._has_led:
                    self._has_led = True
                    self._tell_all("catch_up")
                self._tell_state()
            case "caught_up":
                member.is_caught_up = True
            case "used":
                for other in self._members:
                    if other is not member and other.is_serving:
                        self._tell(other, "used", us=told["us"])
            case "failed":
                member.last_words = told["message"], told["hint"]
        self._news.set()

    def _appoint(self) -> None:
        """Give the duties to somebody, if nobody has them; at first only when all are there."""
        serving = [member for member in self._members if member.is_serving]
        is_complete = len(serving) == len(self._members)
        if self._leader is None and serving and (is_complete or self._has_led):
            self._leader = serving[0]
            self._tell(self._leader, "lead")

    def _state(self) -> dict[str, Any]:
        serving = sum(member.is_serving for member in self._members)
        gateways = {"wanted": len(self._members), "serving": serving}
        return {"is_ready": self._is_open, "demo": self._demo, "gateways": gateways}

    def _tell_state(self) -> None:
        self._tell_all("state", **self._state())

    def _tell_all(self, event: str, **told: Any) -> None:
        for member in self._members:
            if member.is_serving:
                self._tell(member, event, **told)

    def _tell(self, member: _Member, event: str, **told: Any) -> None:
        if member.line is not None:
            member.line.tell(event, **told)

    def _signal(self, number: signal.Signals) -> None:
        for member in self._members:
            if member.process is not None:
                with suppress(ProcessLookupError):
                    member.process.send_signal(number)


def _pause_s(deaths: int) -> float:
    """Return how long to wait before a gateway is started again that died *deaths* times young."""
    if deaths <= 1:
        return 0.0
    return float(min(GATEWAY_RESTART_S_FIRST * 2 ** (deaths - 2), GATEWAY_RESTART_S_MAX))


def _environment() -> dict[str, str]:
    """Return our environment without the settings in it: a gateway is told them otherwise."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
    }


def _shared_memory() -> int:
    """Return a descriptor of an empty file that is in no directory."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("algorium")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
