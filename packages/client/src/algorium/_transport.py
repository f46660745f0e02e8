"""
Drives flows over HTTP, once blocking and once with `asyncio`.

This module and `_http.py` alone know the HTTP library.

Credentials are added there and nowhere else, so requests and flows can be shown and logged freely.
What is logged, at DEBUG to the logger `algorium`, is method, path, status, time and request id:
neither headers nor queries nor bodies.

A transport is pickled without its connections, and a forked process gets connections of its own.
What becomes of the key is in `_config.py`.
"""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

import httpx2

from algorium._config import Connection
from algorium._errors import TransportError
from algorium._http import (
    TransportOptions,
    Wire,
    async_content,
    is_packed,
    packed,
    response_of,
    sync_content,
    translated,
)
from algorium._messages import Pause, Request, Response
from algorium._retry import Flow, with_retries

T = TypeVar("T")

_log = logging.getLogger("algorium")

_CONNECTED: Final = ("connect_tcp.complete", "start_tls.complete")
"""Events of the HTTP library after which there is another socket."""


def _of_lane(options: TransportOptions, busy_retries_max: int) -> TransportOptions:
    retry = replace(options.retry, busy_retries_max=busy_retries_max)
    return replace(options, connections_max=1, retry=retry)


class SyncStream:
    """A body that is still arriving. Iterate once, close always."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with translated(self._response.request):
            yield from self._response.iter_bytes()

    def close(self) -> None:
        """Give the connection back, or close it when bytes are left unread."""
        self._response.close()


class AsyncStream:
    """A body that is still arriving. Iterate once, close always."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with translated(self._response.request):
            async for chunk in self._response.aiter_bytes():
                yield chunk

    async def aclose(self) -> None:
        """Give the connection back, or close it when bytes are left unread."""
        await self._response.aclose()


class SyncTransport:
    """Runs flows in the calling thread. Threads may share it, and forks go on with it."""

    def __init__(
        self, connection: Connection, options: TransportOptions, wire: "Wire | None" = None
    ) -> None:
        self._connection = connection
        self._options = options
        self._wire = wire or Wire(connection, options)
        self._clients = {os.getpid(): httpx2.Client(**self._wire.client_arguments())}
        self._retry = options.retry
        self.connections_max = options.connections_max
        self.retries_max = options.retry.retries_max

    def __reduce__(self) -> "tuple[type[SyncTransport], tuple[Connection, TransportOptions]]":
        return type(self), (self._connection, self._options)

    def lane(self, *, busy_retries_max: int) -> "SyncLane":
        """
        Return a transport with a single connection of its own.

        Many of them are faster than a pool of as many connections: that looks at each of them for
        each request.

        Args:
            busy_retries_max: How often what is refused for now is sent again.
        """
        options = _of_lane(self._options, busy_retries_max)
        return SyncLane(self._connection, options, self._wire.with_options(options))

    def run(self, flow: Flow[T]) -> T:
        """Drive *flow* to its end and return its result."""
        steps = with_retries(flow, self._retry, time.monotonic)
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            except BaseException:
                if answer is not None and answer.stream is not None:
                    answer.stream.close()  # nobody will read it
                raise
            answer = failure = None
            if isinstance(step, Pause):
                self.pause(step)
                continue
            began_at = time.monotonic()
            try:
                answer = self._exchange(step)
            except TransportError as error:
                failure = error
            _note(step, answer or failure, began_at)

    def _exchange(self, request: Request) -> Response:
        outgoing = self._wire.outgoing(request, sync_content(request))
        self._prepare(outgoing)
        with translated(outgoing):
            incoming = self._client().send(outgoing, stream=True)
            if is_packed(incoming):
                incoming.close()
                raise packed(outgoing)
            if request.is_streamed and incoming.is_success:
                return response_of(incoming, stream=SyncStream(incoming))
            try:
                incoming.read()
            finally:
                incoming.close()
            return response_of(incoming, body=incoming.content)

    def pause(self, pause: Pause) -> None:
        """Wait as long as *pause* says."""
        time.sleep(_draw(pause))

    def _client(self) -> httpx2.Client:
        """
        Return the library's client of this process.

        A fork has the connections of its parent: two who use them get each other's answers. The
        parent's client is kept, or its sockets would be closed with a warning.
        """
        client = self._clients.get(os.getpid())
        if client is None:
            client = httpx2.Client(**self._wire.client_arguments())
            client = self._clients.setdefault(os.getpid(), client)
        return client

    def _prepare(self, outgoing: httpx2.Request) -> None:
        """See a request before it is sent."""

    def close(self) -> None:
        """Close all connections."""
        self._client().close()


class SyncLane(SyncTransport):
    """A transport with one connection, which another thread may break off."""

    _socket: socket.socket | None = None

    def __init__(
        self, connection: Connection, options: TransportOptions, wire: "Wire | None" = None
    ) -> None:
        super().__init__(connection, options, wire)
        self._end = threading.Event()

    @property
    def is_broken_off(self) -> bool:
        """Whether it is of no use any more."""
        return self._end.is_set()

    def break_off(self) -> None:
        """End the request or pause under way, and refuse all to come; from any thread."""
        self._end.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    def pause(self, pause: Pause) -> None:
        """Wait as long as *pause* says, or until it is broken off."""
        self._end.wait(_draw(pause))

    def _prepare(self, outgoing: httpx2.Request) -> None:
        outgoing.extensions["trace"] = self._watch

    def _watch(self, event: str, told: Mapping[str, Any]) -> None:
        if event.endswith(_CONNECTED):
            self._socket = told["return_value"].get_extra_info("socket")
        if self.is_broken_off and event.endswith(".started"):
            raise httpx2.ReadError("broken off")


class AsyncTransport:
    """Runs flows on the running `asyncio` loop."""

    def __init__(
        self, connection: Connection, options: TransportOptions, wire: "Wire | None" = None
    ) -> None:
        self._connection = connection
        self._options = options
        self._wire = wire or Wire(connection, options)
        self._clients = {os.getpid(): httpx2.AsyncClient(**self._wire.client_arguments())}
        self._retry = options.retry
        self.connections_max = options.connections_max
        self.retries_max = options.retry.retries_max

    def __reduce__(self) -> "tuple[type[AsyncTransport], tuple[Connection, TransportOptions]]":
        return type(self), (self._connection, self._options)

    def lane(self, *, busy_retries_max: int) -> "AsyncTransport":
        """Return a transport with a single connection of its own, as in `SyncTransport`."""
        options = _of_lane(self._options, busy_retries_max)
        return AsyncTransport(self._connection, options, self._wire.with_options(options))

    async def run(self, flow: Flow[T]) -> T:
        """Drive *flow* to its end and return its result."""
        steps = with_retries(flow, self._retry, time.monotonic)
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                step = steps.throw(failure) if failure else steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            except BaseException:
                if answer is not None and answer.stream is not None:
                    await answer.stream.aclose()  # nobody will read it
                raise
            answer = failure = None
            if isinstance(step, Pause):
                await self.pause(step)
                continue
            began_at = time.monotonic()
            try:
                answer = await self._exchange(step)
            except TransportError as error:
                failure = error
            _note(step, answer or failure, began_at)

    async def _exchange(self, request: Request) -> Response:
        outgoing = self._wire.outgoing(request, async_content(request))
        with translated(outgoing):
            incoming = await self._client().send(outgoing, stream=True)
            if is_packed(incoming):
                await incoming.aclose()
                raise packed(outgoing)
            if request.is_streamed and incoming.is_success:
                return response_of(incoming, stream=AsyncStream(incoming))
            try:
                await incoming.aread()
            finally:
                await incoming.aclose()
            return response_of(incoming, body=incoming.content)

    @staticmethod
    async def pause(pause: Pause) -> None:
        """Wait as long as *pause* says."""
        import asyncio  # noqa: PLC0415 - whoever is here has it; others need not wait for it

        await asyncio.sleep(_draw(pause))

    def _client(self) -> httpx2.AsyncClient:
        """Return the library's client of this process, as in `SyncTransport`."""
        client = self._clients.get(os.getpid())
        if client is None:
            client = httpx2.AsyncClient(**self._wire.client_arguments())
            client = self._clients.setdefault(os.getpid(), client)
        return client

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client().aclose()


def _note(request: Request, outcome: Response | TransportError | None, began_at: float) -> None:
    if not _log.isEnabledFor(logging.DEBUG):
        return
    took_ms = (time.monotonic() - began_at) * 1000
    if isinstance(outcome, Response):
        told = f"HTTP {outcome.status}, request {outcome.request_id or 'without id'}"
    else:
        told = type(outcome).__name__
    _log.debug("%s %s: %s, %.1f ms", request.method, request.path, told, took_ms)


def _draw(pause: Pause) -> float:
    return random.uniform(pause.shortest_s, pause.longest_s)  # noqa: S311 - not a secret
