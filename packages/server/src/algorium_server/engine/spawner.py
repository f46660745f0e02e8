"""
Programs asked of the supervisor: requests, what it answers, and how each of them ends.

The supervisor is a process of its own; this side keeps what belongs to asyncio. When it dies, what
it had started dies with it, and the next request starts another one.

Whether a program is started cold or forked by a zygote is the supervisor's business; this side
learns which it was, and tells the log.
"""

import asyncio
import itertools
import secrets
import signal
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from algorium_server.engine.link import SupervisorLink
from algorium_server.engine.sandbox import ExitStatus, SandboxSpec
from algorium_server.engine.spawned import NO_DESCRIPTORS, NotStarted, SandboxProcess
from algorium_server.telemetry import logger

START_TIMEOUT_S: Final = 15.0
"""From the request until the program runs; usually some hundredths, more while a disk is busy."""
_ZYGOTE_EVENTS_KEPT: Final = 100

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygotesInUse:
    """
    What zygotes take at this moment.

    Attributes:
        count: How many there are.
        memory_bytes: Of all together, without the slots they forked.
    """

    count: int = 0
    memory_bytes: int = 0


class Spawner:
    """
    Asks the supervisor for programs.

    Args:
        supervision: Says what the next supervisor is told, and its filters.

    Attributes:
        zygotes: What zygotes take.
        starts: How many programs were started so far, by their path: `cold` or `zygote`.
        zygote_events: What happened to zygotes lately, the newest last: which one, its state
            (`ready`, `passed over`, `refused`, `ended`), and the reason.
    """

    def __init__(self, supervision: Callable[[], tuple[dict[str, Any], tuple[bytes, ...]]]) -> None:
        self.zygotes = ZygotesInUse()
        self.starts: Counter[str] = Counter()
        self.zygote_events: deque[dict[str, Any]] = deque(maxlen=_ZYGOTE_EVENTS_KEPT)
        self._supervision = supervision
        self._link: SupervisorLink | None = None
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[SandboxProcess]] = {}
        self._running: dict[int, SandboxProcess] = {}

    @property
    def cgroups(self) -> list[Any] | None:
        """Version and controllers of the control groups in use, None without any."""
        return self._link.cgroups if self._link else None

    async def spawn(self, spec: SandboxSpec, *, is_private: bool) -> SandboxProcess:
        """
        Start a program and return when it runs.

        Args:
            spec: Which, and how.
            is_private: Nobody else reaches its listener, so that needs no secret.

        Raises:
            NotStarted: It could not be started.
            TimeoutError: It does not run yet.
            Unavailable: There is no supervisor.
        """
        link = await self._supervisor()
        number = next(self._numbers)
        prefix = "" if is_private or not spec.has_listener else f"/{secrets.token_urlsafe(16)}"
        answer: asyncio.Future[SandboxProcess] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(START_TIMEOUT_S):
            link.send("start", id=number, spec=spec.as_dict(), api_path_prefix=prefix)
            self._asked[number] = answer
            try:
                process = await answer
                process.api_path_prefix = prefix
                process.limits = spec.limits
                await process.started()
                self.starts[process.start_path] += 1
                _log.debug("sandbox started", start_path=process.start_path, pid=process.pid)
            except BaseException:
                _abandon(answer, link, number)
                raise
        return process

    def prepare(self, spec: SandboxSpec) -> None:
        """Get ready to start *spec* quickly, if there is a supervisor."""
        if self._link is not None:
            self._link.send("prepare", spec=spec.as_dict())

    async def close(self) -> None:
        """End the supervisor with all that it has started; the next request starts another one."""
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def _supervisor(self) -> SupervisorLink:
        async with self._starting:
            if self._link is None or self._link.is_lost:
                config, filters = self._supervision()
                self._link = await SupervisorLink.start(
                    config, filters, on_event=self._on_event, on_lost=self._on_lost
                )
            return self._link

    def _on_event(self, message: dict[str, Any], descriptors: list[int]) -> None:
        match message.pop("event"):
            case "zygotes":
                self.zygotes = ZygotesInUse(count=message["count"], memory_bytes=message["bytes"])
            case "zygote":
                self.zygote_events.append(message)
                _log.info("zygote", **message)
            case "started":
                self._on_started(message, descriptors)
            case "refused" if answer := self._asked.pop(message["id"], None):
                _refuse(answer, message["message"])
            case "exited" if process := self._running.pop(message.pop("id"), None):
                _resolve(process, ExitStatus(**message))

    def _on_started(self, message: dict[str, Any], descriptors: list[int]) -> None:
        number = message["id"]
        answer = self._asked.pop(number)
        assert self._link is not None
        if not descriptors:
            self._link.send("kill", id=number, grace_s=0)
            _refuse(answer, NO_DESCRIPTORS)
            return
        process = SandboxProcess(message, descriptors, link=self._link, number=number)
        self._running[number] = process
        if answer.cancelled():  # nobody waits for it any more
            self._link.send("kill", id=number, grace_s=0)
            process.close()
        else:
            answer.set_result(process)

    def _on_lost(self) -> None:
        """Everything the supervisor had started is killed by the kernel."""
        self.zygotes = ZygotesInUse()
        for answer in self._asked.values():
            _refuse(answer, "the sandbox supervisor died")
        for process in self._running.values():
            lost = ExitStatus(code=None, signal=signal.SIGKILL, was_lost=True)
            _resolve(process, lost)
        self._asked.clear()
        self._running.clear()


def _refuse(answer: "asyncio.Future[SandboxProcess]", reason: str) -> None:
    if not answer.done():
        answer.set_exception(NotStarted(reason))


def _abandon(answer: "asyncio.Future[SandboxProcess]", link: SupervisorLink, number: int) -> None:
    """End what was started, and was not handed out."""
    if answer.done() and not answer.cancelled() and answer.exception() is None:
        link.send("kill", id=number, grace_s=0)
        answer.result().close()


def _resolve(process: SandboxProcess, status: ExitStatus) -> None:
    if not process.exited.done():
        process.exited.set_result(status)
