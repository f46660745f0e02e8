"""What calls return."""

from base64 import b64decode
from typing import Any

from algorium.compat.async_response import AsyncResponse
from algorium.compat.errors import raiseAlgoApiError


class Metadata:
    """
    What the server says about a call.

    Attributes:
        content_type: `text`, `json`, `binary` or `void`.
        duration: Seconds it took.
        stdout: What the algorithm printed, if asked for and allowed; else None.
        full_metadata: All that the server says.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.content_type = metadata["content_type"]
        self.duration = metadata.get("duration")
        self.stdout = metadata.get("stdout")
        self.full_metadata = metadata

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def __repr__(self) -> str:
        return (
            f"Metadata(content_type='{self.content_type}',duration={self.duration},"
            f"stdout={self.stdout})"
        )


class AlgoResponse:
    """
    A call's result.

    Attributes:
        result: Text, bytes, None, or what the JSON says.
        metadata: What the server says about the call.
    """

    def __init__(self, result: Any, metadata: Metadata) -> None:
        self.result = result
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"AlgoResponse(result={self.result},metadata={self.metadata})"

    @staticmethod
    def create_algo_response(response: dict[str, Any]) -> "AlgoResponse | AsyncResponse":
        """
        Return what the body of an answer says.

        Raises:
            AlgorithmException: The call failed.
        """
        if "async" in response and "request_id" in response:
            return AsyncResponse(response)
        if "error" in response or "metadata" not in response:
            raise raiseAlgoApiError(response)
        metadata = Metadata(response["metadata"])
        result: Any = response.get("result")
        if metadata.content_type == "binary":
            result = b64decode(result)
        elif metadata.content_type == "void":
            result = None
        return AlgoResponse(result, metadata)
