"""
The line between a gateway and its parent: JSON objects, one a line, over a socket of their own.

    parent -> gateway                          gateway -> parent
    assignment {...}          first            serving    {sandbox}        it answers requests
    state      {is_ready, demo, gateways}      failed     {message, hint}  it cannot start
    lead                                       led        {demo, has_hello}
    catch_up                                   caught_up
    used       {us}       by another gateway   used       {us}             of compute budgets

The first line says everything that a gateway has to know; arguments of processes can be read by
every user of the machine, and the settings may hold a password. When the line ends, the other
side is gone.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from algorium_server.settings import Settings

_LINE_BYTES_MAX: Final = 1024 * 1024
"""Far more than all settings together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """
    What a gateway is told at its birth.

    Attributes:
        settings: The server's, complete.
        number: Which gateway it is, from 0.
        gateways: How many there are.
        api: Base address of the server.
        since: When the server started.
        state: What the event `state` would tell: of a server that is ready, a gateway that is
            started again is ready when it serves.
        listening_fd: The bound socket.
        admission_fd: Memory of the table of open calls.
        rates_fd: Memory of the table of calls by minute.
        guesses_fd: Memory of the table of wrong passwords.
        loads_fd: Memory of the table of connections.
        lock_fd: Of the home; it stays locked as long as a gateway lives.
    """

    settings: Settings
    number: int
    gateways: int
    api: str
    since: datetime
    state: Mapping[str, Any]
    listening_fd: int
    admission_fd: int
    rates_fd: int
    guesses_fd: int
    loads_fd: int
    lock_fd: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All descriptors that it names."""
        return (
            self.listening_fd,
            self.admission_fd,
            self.rates_fd,
            self.guesses_fd,
            self.loads_fd,
            self.lock_fd,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as JSON."""
        settings = {row.name: getattr(self.settings, row.name) for row in Settings.table()}
        as_text = {name: str(v) for name, v in settings.items() if isinstance(v, Path)}
        return {
            **{row.name: getattr(self, row.name) for row in fields(self)},
            "settings": settings | as_text,
            "since": self.since.isoformat(),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Make it of what `as_dict` returned."""
        settings = dict(told["settings"])
        for row in Settings.table():
            if row.type is Path:
                settings[row.name] = Path(settings[row.name])
        since = datetime.fromisoformat(told["since"])
        return cls(**{**told, "settings": Settings(**settings), "since": since})


class Line:
    """One end of the line. Use `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Take over one end of a pair of sockets."""
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=_LINE_BYTES_MAX)
        return cls(reader, writer)

    def tell(self, event: str, **told: Any) -> None:
        """Say something; a side that is gone does not hear it."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"event": event, **told}).encode() + b"\n")

    async def hear(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what the other side says, until it is gone."""
        with suppress(ConnectionError):
            async for line in self._reader:
                told = json.loads(line)
                yield told.pop("event"), told

    async def close(self) -> None:
        """Say what is left to say, and hang up."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
