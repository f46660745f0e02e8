"""Handles of algorithms: which one, with which options, and the call itself."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, Self, overload

from algorium import _flow
from algorium._flow import CallOptions, Output
from algorium._idempotency import check_key, with_key
from algorium._map import (
    CONCURRENCY_DEFAULT,
    Errors,
    MapWish,
    OnMapProgress,
    mapped,
    mapped_async,
)
from algorium._responses import AlgoResponse, AsyncReceipt
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.refs import AlgorithmRef


class _Handle:
    """
    An algorithm with options. Immutable: every option returns a new handle.

    Attributes:
        ref: Which algorithm, and which version of it.
        options: What to ask for beside the input.
    """

    __slots__ = ("options", "ref")

    ref: AlgorithmRef
    options: CallOptions

    def __init__(self, ref: AlgorithmRef, options: CallOptions) -> None:
        # Slots and object.__setattr__: a handle is shared between threads, nobody may change it.
        object.__setattr__(self, "ref", ref)
        object.__setattr__(self, "options", options)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"handles are immutable; {name} cannot be set")

    def __repr__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.options.query)
        return f"<{type(self).__name__} {self.ref.uri}{'?' if query else ''}{query}>"

    def timeout(self, seconds: float) -> Self:
        """
        Limit how long the call may run; 300 s if never said, 3000 s at most.

        Raises:
            ValueError: *seconds* is not positive.
        """
        return self._with(replace(self.options, timeout_s=seconds))

    def stdout(self, wanted: bool = True) -> Self:
        """Ask for what the algorithm prints (`metadata.stdout`); given to its owner only."""
        return self._with(replace(self.options, stdout=wanted))

    def timing(self, wanted: bool = True) -> Self:
        """Ask where the call's time went (`metadata.timing`)."""
        return self._with(replace(self.options, timing=wanted))

    def output(self, mode: Output) -> Self:
        """
        Choose how the answer comes.

        Args:
            mode: `default`: result and metadata. `raw`: the bare result, without metadata; saves
                the detour over base64 for binary results. `void`: at once and without a result,
                while the call goes on; see also `send`.

        Raises:
            ValueError: *mode* is none of these.
        """
        return self._with(replace(self.options, output=mode))

    def idempotent(self, key: str | None = None) -> Self:
        """
        Let the server run each call once, so that it may be sent again when a connection breaks.

        Each call carries a key (`Idempotency-Key`). It is repeated, with growing pauses and within
        its timeout, when the connection breaks off, the server is not there or busy, or it is
        still running; the server answers a repetition with what the first attempt came to, also a
        failure of the algorithm, for 24 hours. A call goes on when its caller goes away.

        Args:
            key: Left out: a fresh one for each call, which is what `map` needs. Given, 1 to 255
                visible ASCII characters, such as the number of an order: then also a later
                program that makes the same call gets its answer.

        Raises:
            ValueError: *key* is no key.

        Example:
            charged = client.algo("shop/Charge").idempotent().pipe({"order": 4711})
        """
        chosen = "" if key is None else check_key(key)
        return self._with(replace(self.options, is_idempotent=True, idempotency_key=chosen))

    def query(self, **parameters: str) -> Self:
        """Add query parameters of the calling protocol that have no method here."""
        return self._with(replace(self.options, extra={**self.options.extra, **parameters}))

    def _check_for_many(self) -> None:
        if self.options.idempotency_key:
            raise ValueError("one key is for one call: use idempotent() without a key")

    def _with(self, options: CallOptions) -> Self:
        raise NotImplementedError


class AlgorithmHandle(_Handle):
    """An algorithm to call, with options; see `Algorium.algo`."""

    __slots__ = ("_transport",)

    _transport: SyncTransport

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._transport, self.ref, self.options)

    def __init__(self, transport: SyncTransport, ref: AlgorithmRef, options: CallOptions) -> None:
        super().__init__(ref, options)
        object.__setattr__(self, "_transport", transport)

    def pipe(self, value: Any) -> AlgoResponse:
        """
        Call the algorithm and wait for its result.

        Never repeated once anything was sent, unless the handle is `idempotent`.

        Args:
            value: `str` goes as text, bytes as binary, everything else as JSON: JSON's own types,
                dataclasses, TypedDicts, pydantic models, enums, sets, dates.

        Raises:
            AlgorithmError: The algorithm failed; one class per kind of failure.
            ApiError: The platform refused the call, or failed.
            TransportError: No usable answer came.
            TypeError: *value* cannot be sent.
        """
        return self._transport.run(_flow.call(self.ref, value, with_key(self.options)))

    def send(self, value: Any) -> AsyncReceipt:
        """
        Start a call and return at once; its result is discarded (output `void`).

        Raises:
            ApiError: The platform refused the call.
            TransportError: No usable answer came.
            TypeError: *value* cannot be sent.
        """
        options = with_key(replace(self.options, output="void"))
        return self._transport.run(_flow.send(self.ref, value, options))

    def pipe_async(self, value: Any) -> AsyncReceipt:
        """Start a call and return at once: `send` by the name that the old clients gave it."""
        return self.send(value)

    @overload
    def map(
        self,
        values: Iterable[Any],
        *,
        concurrency: int = ...,
        errors: Literal["raise"] = "raise",
        progress: OnMapProgress | None = None,
    ) -> Iterator[AlgoResponse]: ...
    @overload
    def map(
        self,
        values: Iterable[Any],
        *,
        concurrency: int = ...,
        errors: Errors,
        progress: OnMapProgress | None = None,
    ) -> Iterator[AlgoResponse | Exception]: ...
    def map(
        self,
        values: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY_DEFAULT,
        errors: Errors = "raise",
        progress: OnMapProgress | None = None,
    ) -> Iterator[Any]:
        """
        Call the algorithm with each of many inputs, some at a time; results come in their order.

        Nothing is sent before the first result is asked for. Inputs are taken as they are needed
        and may be endless: twice *concurrency* are in memory at most. A call that the server
        refuses because too many are open waits and is sent again; no other call is repeated once
        anything was sent, unless the handle is `idempotent`. When iterating ends early, calls under
        way are given up, but for idempotent ones.

        Args:
            values: The inputs, each as for `pipe`.
            concurrency: Calls open at a time, 1000 at most; a server allows an account 80 unless
                told otherwise.
            errors: `raise` the first failure, in the order of the inputs, or `return` each
                exception in the place of a result.
            progress: Told after each result, in the thread that iterates.

        Raises:
            AlgorithmError, ApiError, TransportError, TypeError: As `pipe`; a note says at which
                input.
            ValueError: *concurrency* or *errors* is impossible, or all calls would have one key.

        Example:
            for response in client.algo("demo/Hello").map(["Ada", "Grace"], concurrency=8):
                print(response.result)
        """
        wish = MapWish(concurrency=concurrency, errors=errors, progress=progress)
        self._check_for_many()
        return mapped(self._transport, self.ref, self.options, values, wish)

    def _with(self, options: CallOptions) -> Self:
        return type(self)(self._transport, self.ref, options)


class AsyncAlgorithmHandle(_Handle):
    """An algorithm to call from `asyncio`, with options; see `AsyncAlgorium.algo`."""

    __slots__ = ("_transport",)

    _transport: AsyncTransport

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._transport, self.ref, self.options)

    def __init__(self, transport: AsyncTransport, ref: AlgorithmRef, options: CallOptions) -> None:
        super().__init__(ref, options)
        object.__setattr__(self, "_transport", transport)

    async def pipe(self, value: Any) -> AlgoResponse:
        """Call the algorithm and wait for its result, as `AlgorithmHandle.pipe`."""
        return await self._transport.run(_flow.call(self.ref, value, with_key(self.options)))

    async def send(self, value: Any) -> AsyncReceipt:
        """Start a call and return at once, as `AlgorithmHandle.send`."""
        options = with_key(replace(self.options, output="void"))
        return await self._transport.run(_flow.send(self.ref, value, options))

    async def pipe_async(self, value: Any) -> AsyncReceipt:
        """Start a call and return at once, as `AlgorithmHandle.pipe_async`."""
        return await self.send(value)

    @overload
    def map(
        self,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int = ...,
        errors: Literal["raise"] = "raise",
        progress: OnMapProgress | None = None,
    ) -> AsyncIterator[AlgoResponse]: ...
    @overload
    def map(
        self,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int = ...,
        errors: Errors,
        progress: OnMapProgress | None = None,
    ) -> AsyncIterator[AlgoResponse | Exception]: ...
    def map(
        self,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int = CONCURRENCY_DEFAULT,
        errors: Errors = "raise",
        progress: OnMapProgress | None = None,
    ) -> AsyncIterator[Any]:
        """
        Call the algorithm with each of many inputs, as `AlgorithmHandle.map`.

        The inputs may come from an async iterable.
        """
        wish = MapWish(concurrency=concurrency, errors=errors, progress=progress)
        self._check_for_many()
        return mapped_async(self._transport, self.ref, self.options, values, wish)

    def _with(self, options: CallOptions) -> Self:
        return type(self)(self._transport, self.ref, options)
