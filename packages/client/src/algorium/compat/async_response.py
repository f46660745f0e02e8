"""What a call without a result returns."""

from typing import Any


class AsyncResponse:
    """
    A call that goes on by itself.

    Attributes:
        async_protocol: `void`.
        request_id: Names the call in the server's log.
    """

    def __init__(self, server_response: dict[str, Any]) -> None:
        self.async_protocol = server_response["async"]
        self.request_id = server_response["request_id"]

    def __repr__(self) -> str:
        return f"AsyncResponse(async_protocol={self.async_protocol}, request_id={self.request_id})"
