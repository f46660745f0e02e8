"""What calls return: results with their metadata, and receipts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from algorium._errors import ResultTypeError
from algorium._values import decode, to_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """
    What the server says about a call.

    Attributes:
        content_type: `text`, `json`, `binary` or `void`.
        duration: Seconds the call took on the server; None with output `raw` and `void`.
        stdout: What the algorithm printed; None unless asked for with `.stdout(True)` and allowed.
        alerts: Remarks of the platform.
        timing: Seconds by name (`running`, `total`); empty unless asked for with `.timing(True)`.
        request_id: Names the call in the server's log.
    """

    content_type: str
    duration: float | None = None
    stdout: str | None = None
    alerts: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncReceipt:
    """
    A call that the server has accepted and carries out by itself; its result is discarded.

    Attributes:
        request_id: Names the call in the server's log.
    """

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoResponse:
    """
    A call's result.

    Attributes:
        result: `str` for text, `bytes` for binary, None for void, else what the JSON says.
        metadata: What the server says about the call.

    Example:
        >>> response = AlgoResponse(result=[1, 2], metadata=Metadata(content_type="json"))
        >>> response.decode(list[float])
        [1.0, 2.0]
    """

    result: Any
    metadata: Metadata

    def as_string(self) -> str:
        """
        Return a text result, or a JSON result that is a string.

        Raises:
            ResultTypeError: The result is something else.
        """
        if isinstance(self.result, str):
            return self.result
        raise self._mismatch("a string")

    def as_bytes(self) -> bytes:
        """
        Return a binary result.

        Raises:
            ResultTypeError: The result is something else.
        """
        if isinstance(self.result, bytes):
            return self.result
        raise self._mismatch("bytes")

    def as_json(self) -> Any:
        """
        Return a JSON result as Python's own types; a text result counts as a JSON string.

        Raises:
            ResultTypeError: The result is binary.
        """
        if isinstance(self.result, bytes):
            raise self._mismatch("JSON")
        return self.result

    def to_json(self) -> str:
        """
        Return a JSON or text result as JSON text.

        Raises:
            ResultTypeError: The result is binary.
        """
        return to_json(self.as_json())

    @overload
    def decode(self, kind: type[T]) -> T: ...
    @overload
    def decode(self, kind: Any) -> Any: ...
    def decode(self, kind: Any) -> Any:
        """
        Return the result as a *kind* of value.

        Args:
            kind: A dataclass, TypedDict, NamedTuple, enum or pydantic model; `str`, `int`, `float`,
                `bool`, `None`, `bytes`, `datetime`, `date`; `list`, `tuple`, `set`, `dict`,
                `Literal` and unions of such types; `numpy.ndarray`, or `NDArray` of a type; `Any`.
                Members unknown to *kind* are ignored.

        Raises:
            ResultTypeError: The result does not fit; the text names the place.
            TypeError: *kind* is not such a type.
        """
        try:
            return decode(self.result, kind)
        except ResultTypeError as error:
            raise ResultTypeError(
                error.message, hint=error.hint, request_id=self.metadata.request_id
            ) from error.__cause__

    def _mismatch(self, wanted: str) -> ResultTypeError:
        return ResultTypeError(
            f"The result is {self.metadata.content_type}, a {type(self.result).__name__}, "
            f"not {wanted}.",
            hint="The result attribute has it as it came.",
            request_id=self.metadata.request_id,
        )
