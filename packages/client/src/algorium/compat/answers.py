"""Answers of the server, with those attributes of `requests.Response` that programs use."""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from algorium._messages import Response


class Headers(dict[str, str]):
    """Headers by name, in any case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in headers.items()})

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or *default*."""
        return super().get(name.lower(), default)


class Answer:
    """
    An answer.

    Attributes:
        status_code: Its status.
        headers: By name, in any case.
        content: Its body.
    """

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self.headers = Headers(response.headers)
        self.content = response.body

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status_code < 400

    @property
    def reason(self) -> str:
        """What its status is called."""
        try:
            return HTTPStatus(self.status_code).phrase
        except ValueError:
            return ""

    @property
    def text(self) -> str:
        """Its body as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def error_message(self) -> str:
        """What the server says is wrong, or empty."""
        if (told := self.headers.get("x-error-message")) is not None:
            return str(told)
        try:
            error = self.json().get("error")
        except (ValueError, AttributeError):
            return ""
        return str(error.get("message", "") if isinstance(error, dict) else error or "")

    def json(self) -> Any:
        """
        Return its body as JSON.

        Raises:
            ValueError: It is not JSON.
        """
        return json.loads(self.content)

    def iter_content(self, chunk_size: int = 1024) -> Iterator[bytes]:
        """Cut its body up."""
        for start in range(0, len(self.content), chunk_size):
            yield self.content[start : start + chunk_size]


class RefusedDownload(Exception):
    """
    Something cannot be downloaded.

    Attributes:
        answer: What the server says.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error_message)
        self.answer = answer
