"""Callers that go away while they are worked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from algorium_server.api.http import Disconnected, Scope
from algorium_server.api.protocol import CONNECTION_KEY

T = TypeVar("T")


async def while_connected(scope: Scope, work: Callable[[], Awaitable[T]]) -> T:
    """
    Do *work*, unless the caller goes away: then it is cancelled.

    Raises:
        Disconnected: The caller is gone.
    """
    connection = scope.get(CONNECTION_KEY)
    if connection is None:
        return await work()
    if connection.is_lost:
        raise Disconnected
    task = asyncio.current_task()
    assert task is not None
    is_lost = False

    def give_up() -> None:
        nonlocal is_lost
        is_lost = True
        task.cancel()

    connection.tell_loss(give_up)
    try:
        return await work()
    except asyncio.CancelledError:
        if is_lost and task.uncancel() == 0:
            raise Disconnected from None
        raise
    finally:
        connection.on_lost = None
