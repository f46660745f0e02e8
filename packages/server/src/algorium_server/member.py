"""
One gateway of a fleet: a process of its own, started by `fleet` with one end of a line.

It serves the same address as the others. Of what concerns all of them together, such as whether
the server is ready and who has the duties, it does what its parent tells it.

**Ends.** SIGTERM is a stop with grace. When the parent dies, the kernel kills the gateway at once,
so that nothing serves this home any more when another server takes it over; where the kernel does
not do that, the end of the line does. Its sandboxes then end as they do when a gateway dies.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from algorium_runtime import confine
from algorium_server.announcing import sandbox_line
from algorium_server.app import Gateway, open_gateway
from algorium_server.control import Assignment, Line
from algorium_server.domain.errors import AlgoriumError
from algorium_server.home import open_database
from algorium_server.listening import Loads
from algorium_server.services.calling.admission import AdmissionTable, SharedAdmission
from algorium_server.services.calling.rates import RateTable, SharedRates
from algorium_server.services.people.guessing import GuessTable, SharedGuesses
from algorium_server.serving import serving
from algorium_server.telemetry import configure, logger
from algorium_server.wiring.place import Place
from algorium_server.wiring.readiness import State

_log = logger("algorium_server.member")  # as a program its own name says nothing


def main() -> int:
    """Serve until told to stop; the first argument is the descriptor of the line, and all."""
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)
    if sys.platform == "linux":
        confine.prctl(confine.PR_SET_PDEATHSIG, int(signal.SIGKILL))
    # Ctrl-C reaches the whole group of processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return uvloop.run(_main(end))


async def _main(end: socket.socket) -> int:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    line = await Line.open(end)
    heard = line.hear()
    first = await anext(heard, None)
    if first is None:
        return 0  # the parent is gone already
    _, told = first
    try:
        await _Member(Assignment.from_dict(told), line, heard, stopping).run()
    except AlgoriumError as error:
        line.tell("failed", message=error.message, hint=error.hint)
        return 1
    finally:
        await line.close()
    return 0


class _Member:
    def __init__(
        self,
        assignment: Assignment,
        line: Line,
        heard: AsyncIterator[tuple[str, dict[str, Any]]],
        stopping: asyncio.Event,
    ) -> None:
        self._assignment = assignment
        self._line = line
        self._heard = heard
        self._stopping = stopping
        self._state = State(**assignment.state)
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem: AlgoriumError | None = None

    async def run(self) -> None:
        """
        Serve until told to stop.

        Raises:
            AlgoriumError: It cannot start, or a duty cannot be done.
        """
        mine = self._assignment
        settings = mine.settings
        for descriptor in mine.descriptors:  # for this process, not for what it starts
            os.set_inheritable(descriptor, False)
        configure(settings.log_level, settings.log_format, gateway=mine.number)
        table = AdmissionTable(mine.admission_fd, gateways=mine.gateways)
        place = Place(
            number=mine.number,
            gateways=mine.gateways,
            admission=SharedAdmission(table, gateway=mine.number),
            rates=SharedRates(RateTable(mine.rates_fd)),
            guesses=SharedGuesses(GuessTable(mine.guesses_fd)),
            since=mine.since,
        )
        async with AsyncExitStack() as stack:
            database = await open_database(settings, is_shared=True)
            stack.push_async_callback(database.close)
            gateway = await stack.enter_async_context(
                open_gateway(database, settings, mine.api, self._state, place)
            )
            await stack.enter_async_context(
                serving(
                    gateway.router,
                    gateway.heads,
                    socket.socket(fileno=mine.listening_fd),
                    grace_s=settings.shutdown_grace_s,
                    loads=Loads(mine.loads_fd, gateways=mine.gateways),
                    gateway=mine.number,
                )
            )
            stack.push_async_callback(self._drop_tasks)
            gateway.budgets.tell = lambda used: self._line.tell("used", us=used)
            self._keep(self._obey(gateway))
            self._line.tell("serving", sandbox=sandbox_line(gateway.host.report))
            await self._stopping.wait()
            self._state.stop(settings.shutdown_grace_s)
            gateway.meter.is_stopping = True
            gateway.push_output.stopping.set()
        if self._problem is not None:
            raise self._problem

    async def _obey(self, gateway: Gateway) -> None:
        async for event, told in self._heard:
            match event:
                case "state":
                    for name, value in told.items():
                        setattr(self._state, name, value)
                case "lead":
                    _log.info("this gateway has the duties now")
                    self._keep(gateway.duties.keep_house())
                    self._keep(self._lead(gateway))
                case "catch_up":
                    self._keep(self._catch_up(gateway))
                case "used":
                    gateway.budgets.hear(told["us"])
        os.kill(os.getpid(), signal.SIGKILL)  # as if the parent had taken us along

    async def _lead(self, gateway: Gateway) -> None:
        duties = gateway.duties
        await duties.begin()
        self._line.tell("led", demo=duties.demo, has_hello=duties.has_hello)

    async def _catch_up(self, gateway: Gateway) -> None:
        await gateway.following.catch_up()
        self._line.tell("caught_up")

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        """A gateway that cannot do what it was told stops; another one may be luckier."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, AlgoriumError):
            self._problem = error
        if error is not None:
            _log.error("a gateway gives up", exc_info=error)
            self._stopping.set()

    async def _drop_tasks(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
