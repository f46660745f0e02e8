"""What a pusher is shown of a build: its log as it comes, then what became of it."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from typing import Final

from algorium_server.build.source.git_serving import Say
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import PUSH_OUTPUT_LINE_CHARS_MAX
from algorium_server.domain.pushes import BRANCH
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.directory import Directory

_SHORT: Final = 10
"""Characters of a commit that people are shown."""
_SAMPLE_CHARS_MAX: Final = 200


class PushOutput:
    """
    Shows builds to pushers.

    Args:
        api: Base address of the API.
        directory: Knows names.
        builds: Has the logs.

    Attributes:
        stopping: Set when the server is told to stop: from then on nobody is kept waiting.
    """

    def __init__(self, *, api: str, directory: Directory, builds: Builds) -> None:
        self.stopping = asyncio.Event()
        self._api = api
        self._directory = directory
        self._builds = builds

    async def show(self, algorithm: Algorithm, build: Build, say: Say, *, waits: bool) -> None:
        """
        Show a build.

        Args:
            algorithm: What is built.
            build: The build.
            say: Where to.
            waits: Until its end; else only where to look.
        """
        name = f"{self._directory.owner_name(algorithm)}/{algorithm.name}"
        address = f"{self._api}/v1/algorithms/{name}/builds/{build.build_id}"
        if not waits:
            await say(f"The build of {name} at {build.commit_sha[:_SHORT]} is queued:")
            await say(f"  {address}")
            return
        await say(f"Building {name} at {build.commit_sha[:_SHORT]}; Ctrl-C does not stop it.")
        telling = asyncio.ensure_future(self._tell(algorithm, build, name, say))
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            is_told = telling.done()
        finally:
            for each in (telling, stopping):
                each.cancel()
            await asyncio.wait({telling, stopping})
        try:
            if is_told:
                telling.result()
                return
            await say("The server stops now. The commit is stored; when it is back, it builds it:")
        except AlgoriumError as error:
            await say(f"This is all that can be shown here: {error.message}")
        await say(f"  {address}")

    async def _tell(self, algorithm: Algorithm, build: Build, name: str, say: Say) -> None:
        last = ""
        async for line in lines_of(self._builds.follow(build.build_id)):
            last = shown(line)
            await say(last)
        build = await self._builds.wait(build.build_id)
        if build.status is BuildStatus.SUCCEEDED:
            await say("Built. This commit can be called now:")
            await say(f"  {self._call_line(algorithm, name, build.commit_sha)}")
            return
        failure = f"Build failed: {build.failure or 'see its log'}"
        if last != failure:
            await say(shown(failure))
        await say(f"The commit is stored all the same. Mend it, and push to {BRANCH} again.")

    def _call_line(self, algorithm: Algorithm, name: str, commit_sha: str) -> str:
        sample = algorithm.sample_input
        if not sample or len(sample) > _SAMPLE_CHARS_MAX or not _is_json(sample):
            sample = '"input"'
        return (
            f"curl {self._api}/v1/algo/{name}/{commit_sha}"
            " -H 'Authorization: Simple API_KEY' -H 'Content-Type: application/json'"
            f" -d {shlex.quote(shown(sample))}"
        )


async def lines_of(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the lines of a text that comes in pieces, without their ends."""
    tail = ""
    async for piece in pieces:
        *lines, tail = (tail + piece).split("\n")
        for line in lines:
            yield line
        tail = tail[-PUSH_OUTPUT_LINE_CHARS_MAX:]
    if tail:
        yield tail


def shown(line: str) -> str:
    """Return a line as a terminal may be shown it: short, and without what would control it."""
    line = line.rstrip("\r").rpartition("\r")[2]  # progress bars overwrite themselves
    line = "".join(c if c.isprintable() or c == "\t" else "?" for c in line)
    if len(line) > PUSH_OUTPUT_LINE_CHARS_MAX:
        line = f"{line[: PUSH_OUTPUT_LINE_CHARS_MAX - 3]}..."
    return line


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
