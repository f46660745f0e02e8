"""
The check of a build before it is published: its sample input, run once as any call is.

The build runs in a slot of the publisher, with the publisher's rights, and counts among the
publisher's open calls, as it would for the first caller of the version. What came out is the sample
output unless the publisher gave one.

Source: wire specification of the runtime, "Triggers, records, logs".
"""

import asyncio
import base64
import json
import uuid
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.algorithms import Build
from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    ContentType,
    content_of,
    is_json,
)
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import ALGORITHM_TEXT_CHARS_MAX, SAMPLE_RUN_S_MAX
from algorium_server.services.calling.calls import CallService
from algorium_server.services.directory import Directory

EXCEPTION: Final = "Exception encountered while running sample input"
"""The sample output of a version whose sample input fails; the old service's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRun:
    """
    What came of a sample input.

    Attributes:
        output: The sample output; empty if it is not known.
        warning: What the publisher should know, empty if all is well.
    """

    output: str = ""
    warning: str = ""


class Gate:
    """
    Runs sample inputs.

    Args:
        calls: Runs them.
        directory: What there is.
        limit_s: For one run.
    """

    def __init__(
        self, calls: CallService, directory: Directory, *, limit_s: float = SAMPLE_RUN_S_MAX
    ) -> None:
        self._calls = calls
        self._directory = directory
        self._limit_s = limit_s

    async def run(self, build: Build, text: str, *, publisher: Principal) -> SampleRun:
        """
        Run a sample input on a build, and return what came of it; never fails.

        Args:
            build: A successful one.
            text: The sample input, as JSON or text.
            publisher: As whom; what its key does not open, the author's code does not get either.
        """
        resolved = self._directory.resolved_build(build.build_id, version_id="")
        if resolved is None:
            return SampleRun()
        call = None
        outcome: CallOutcome | BaseException | None = None
        try:
            grant = self._calls.grant_of(publisher, resolved, is_sudo=False)
            options = CallOptions(timeout_s=self._limit_s)
            call = self._calls.open(grant, options, f"req-{uuid.uuid4()}")
            outcome = await self._calls.run(call, _input(text))
            return _sample_run(outcome, text)
        except AlgoriumError as error:
            outcome = error
            return SampleRun(warning=f"the sample input could not be run: {error.message}")
        finally:
            if call is not None and (rest := self._calls.close(call, outcome)) is not None:
                await asyncio.shield(rest)


def _input(text: str) -> CallInput:
    body = text.encode("utf-8", "replace")
    kind = ContentType.JSON if is_json(body) else ContentType.TEXT
    return CallInput(content_type=kind, body=body)


def _sample_run(outcome: CallOutcome, text: str) -> SampleRun:
    if isinstance(outcome, CallFailure):
        return SampleRun(
            output=EXCEPTION, warning=f"the sample input fails: {_one_line(outcome.message)}"
        )
    output = _text_of(outcome, wants_json=is_json(text.encode("utf-8", "replace")))
    if len(output) > ALGORITHM_TEXT_CHARS_MAX:
        return SampleRun(
            warning=f"the sample output is longer than {ALGORITHM_TEXT_CHARS_MAX} characters, and "
            "not kept"
        )
    return SampleRun(output=output)


def _text_of(outcome: CallSuccess, *, wants_json: bool) -> str:
    """Write an output down as its input was written."""
    body = content_of(outcome.body)
    if outcome.content_type is ContentType.BINARY:
        return json.dumps(base64.b64encode(body).decode())
    text = bytes(body).decode("utf-8", "replace")
    if outcome.content_type is ContentType.TEXT and wants_json:
        return json.dumps(text, ensure_ascii=False)
    return text


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 500 else f"{line[:500]}…"
