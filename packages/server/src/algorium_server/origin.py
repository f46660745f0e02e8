"""
Where the request at hand comes from: known below without being handed through everything.

The router sets it for each request of the management API, of git and of data; whoever writes the
audit log reads it. A call does not set it: nothing on its way asks.
"""

import uuid
from contextvars import ContextVar
from functools import cached_property
from typing import Final

from algorium_server.domain.identity import Principal


class Origin:
    """
    Where one request comes from.

    Args:
        address: Of whoever sent it; empty if that is not known.
        request_id: How it is called; made up when somebody asks for it if it has none.

    Attributes:
        principal: Who sent it, once that is known.
    """

    def __init__(self, address: str = "", *, request_id: str = "") -> None:
        self.address = address
        self.principal: Principal | None = None
        self._given = request_id

    @cached_property
    def request_id(self) -> str:
        """How the request is called, in answers, logs and the audit log."""
        return self._given or f"req-{uuid.uuid4()}"


NOWHERE: Final = Origin()
"""What the server does by itself comes from no request; nobody asks this for an id."""

origin: Final[ContextVar[Origin]] = ContextVar("origin", default=NOWHERE)
"""Of the request at hand."""
