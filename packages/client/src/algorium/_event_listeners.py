"""Queues whose messages are meant for algorithms: `client.event_listeners`."""

from collections.abc import AsyncIterator, Iterator

from algorium import _operation_flow
from algorium._algorithm_flow import PAGE_MAX
from algorium._authoring import parsed
from algorium._paging import listed, listed_async
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.operations import EventListenerInfo
from algorium.wire.refs import AlgorithmRef


class EventListeners:
    """
    Queues elsewhere whose messages are meant for algorithms. See `Algorium.event_listeners`.

    What the server does with them is in `EventListenerInfo.delivery`: some keep listeners without
    reading the queues.

    Example:
        listener = client.event_listeners.create(
            "AmazonSQS",
            "https://sqs.us-east-1.amazonaws.com/123456789012/orders",
            "demo/Hello",
            credentials="arn:aws:iam::123456789012:role/reader",
        )
        print(listener.delivery)
        client.event_listeners.delete(listener.listener_id)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self, username: str = "", *, page: int = PAGE_MAX) -> Iterator[EventListenerInfo]:
        """
        Go through the listeners of a user, oldest first.

        Args:
            username: For administrators any; you, if left out.
            page: Listeners to fetch at once, at most 1000; pages are fetched as you go on.

        Raises:
            AccountNotFound: There is no such user, or not for you.
        """
        return listed(
            self._transport, lambda marker: _operation_flow.listeners(username, marker, page)
        )

    def get(self, listener_id: str, *, username: str = "") -> EventListenerInfo:
        """
        Return a listener.

        Raises:
            NotFound: There is none.
        """
        return self._transport.run(_operation_flow.listener(username, listener_id))

    def create(
        self,
        source_type: str,
        source_uri: str,
        ref: str | AlgorithmRef,
        *,
        credentials: str,
        timeout_s: int | None = None,
        username: str = "",
    ) -> EventListenerInfo:
        """
        Add a listener.

        Args:
            source_type: `AmazonSQS` or `AzureSB`.
            source_uri: Address of the queue.
            ref: `owner/name`, maybe with a version, of the algorithm that messages are meant for.
            credentials: A role or a connection string; only ever sent.
            timeout_s: Of a call; the server's own if left out.
            username: Whose listener, for administrators; yours if left out.

        Raises:
            InvalidInput: There is no such kind of queue, or something cannot be.
        """
        flow = _operation_flow.create_listener(
            username,
            source_type=source_type,
            source_uri=source_uri,
            ref=parsed(ref),
            credentials=credentials,
            timeout_s=timeout_s,
        )
        return self._transport.run(flow)

    def update(
        self,
        listener_id: str,
        *,
        source_uri: str | None = None,
        ref: str | AlgorithmRef | None = None,
        credentials: str | None = None,
        timeout_s: int | None = None,
        username: str = "",
    ) -> EventListenerInfo:
        """
        Change a listener; what is left out stays as it is. Arguments as for `create`.

        Raises:
            NotFound: There is none.
            InvalidInput: Something cannot be.
        """
        flow = _operation_flow.update_listener(
            username,
            listener_id,
            source_uri=source_uri,
            ref=None if ref is None else parsed(ref),
            credentials=credentials,
            timeout_s=timeout_s,
        )
        return self._transport.run(flow)

    def delete(self, listener_id: str, *, username: str = "") -> None:
        """
        Delete a listener; its queue stays as it is.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_operation_flow.delete_listener(username, listener_id))


class AsyncEventListeners:
    """Queues elsewhere whose messages are meant for algorithms; see `EventListeners`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, username: str = "", *, page: int = PAGE_MAX) -> AsyncIterator[EventListenerInfo]:
        """Go through the listeners of a user, as `EventListeners.list`."""
        return listed_async(
            self._transport, lambda marker: _operation_flow.listeners(username, marker, page)
        )

    async def get(self, listener_id: str, *, username: str = "") -> EventListenerInfo:
        """Return a listener, as `EventListeners.get`."""
        return await self._transport.run(_operation_flow.listener(username, listener_id))

    async def create(
        self,
        source_type: str,
        source_uri: str,
        ref: str | AlgorithmRef,
        *,
        credentials: str,
        timeout_s: int | None = None,
        username: str = "",
    ) -> EventListenerInfo:
        """Add a listener, as `EventListeners.create`."""
        flow = _operation_flow.create_listener(
            username,
            source_type=source_type,
            source_uri=source_uri,
            ref=parsed(ref),
            credentials=credentials,
            timeout_s=timeout_s,
        )
        return await self._transport.run(flow)

    async def update(
        self,
        listener_id: str,
        *,
        source_uri: str | None = None,
        ref: str | AlgorithmRef | None = None,
        credentials: str | None = None,
        timeout_s: int | None = None,
        username: str = "",
    ) -> EventListenerInfo:
        """Change a listener, as `EventListeners.update`."""
        flow = _operation_flow.update_listener(
            username,
            listener_id,
            source_uri=source_uri,
            ref=None if ref is None else parsed(ref),
            credentials=credentials,
            timeout_s=timeout_s,
        )
        return await self._transport.run(flow)

    async def delete(self, listener_id: str, *, username: str = "") -> None:
        """Delete a listener, as `EventListeners.delete`."""
        await self._transport.run(_operation_flow.delete_listener(username, listener_id))
