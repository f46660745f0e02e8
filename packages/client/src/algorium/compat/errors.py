"""The old client's exceptions, and which of ours become which."""

from typing import Any

from algorium.compat.answers import Answer


class ApiError(Exception):
    """The platform refused, or failed."""


class ApiInternalError(ApiError):
    """The platform failed."""


class DataApiError(ApiError):
    """Something about files or directories cannot be."""


class AlgorithmException(ApiError):
    """
    A call failed; also what the platform refuses, with the status in the text.

    Attributes:
        message: What went wrong.
        stack_trace: The algorithm's own traceback, if the caller may see it.
        error_type: Kind of the failure, None for what the platform refuses.
    """

    def __init__(
        self, message: Any, stack_trace: str | None = None, error_type: str | None = None
    ) -> None:
        super().__init__(message, stack_trace, error_type)
        self.message = message
        self.stack_trace = stack_trace
        self.error_type = error_type

    def __str__(self) -> str:
        text = str(self.message)
        return repr(f"{text}\n{self.stack_trace}" if self.stack_trace else text)


def raiseDataApiError(result: Any) -> DataApiError:  # noqa: N802 - the old client's
    """Return, not raise, the exception for a body with an error."""
    return DataApiError(_message_of(result))


def raiseAlgoApiError(result: Any) -> Exception:  # noqa: N802 - the old client's
    """
    Return, not raise, the exception for a body or an answer.

    The old client has a bare `Exception` for an answer that is no success, and loses its message.
    """
    if isinstance(result, Answer):
        told = f"Non-Algorithm related Failure: {result}"
        message = result.error_message
        return AlgorithmException(f"{told} {message}" if message else told)
    if not isinstance(result, dict) or "error" not in result:
        return AlgorithmException(f"Non-Algorithm related Failure: {result}")
    error = result["error"] if isinstance(result["error"], dict) else {}
    return AlgorithmException(
        _message_of(result),
        stack_trace=error.get("stack_trace") or error.get("stacktrace"),
        error_type=error.get("error_type"),
    )


def _message_of(result: Any) -> Any:
    error = result.get("error") if isinstance(result, dict) else result
    return error.get("message", error) if isinstance(error, dict) else error
