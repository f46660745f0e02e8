"""
What the engine asks of whoever serves the platform's API inside slots.

A slot's listener is a TCP socket that lives in the slot's own network namespace. The engine gets it
with the sandbox and knows who the slot acts for; it knows nothing of what is spoken there.

Source: runtime design, "Network and the platform API".
"""

import socket
from collections.abc import Callable
from typing import Protocol

from algorium_server.domain.identity import Principal


class SlotListener(Protocol):
    """A listener being served."""

    def close(self) -> None:
        """Stop accepting and drop the connections; idempotent."""


class PlatformApi(Protocol):
    """Serves the platform's API on the listeners of all slots."""

    async def serve(
        self,
        listener: socket.socket,
        *,
        principal: Callable[[], Principal | None],
        path_prefix: str = "",
    ) -> SlotListener:
        """
        Accept on *listener* until the returned object is closed.

        Args:
            listener: Bound and listening; owned from here on.
            principal: Tells who the algorithm acts as at the time of a request.
            path_prefix: What every path must start with where other processes of the host could
                connect as well; empty where the listener itself is out of their reach.
        """
