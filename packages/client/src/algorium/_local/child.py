"""
One process of the author's code: started, loaded, called, killed.

It runs `algorium_runtime --here`, so decoding, `load`, typed inputs and errors are those of the
platform. Frames travel on its standard input and output. Two threads read what it sends: one the
frames, one what the code prints; a mark in the latter says that all of a call has arrived.

Nothing confines it: it may do whatever its author may. That is for whoever starts it to say.
"""

import contextlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from algorium._local.source import NotHere, Source
from algorium_runtime import frames
from algorium_runtime.standard_streams import mark_of

_BODY_BYTES_MAX: Final = 256 * 2**20
"""Of a result: far above what a call may return, which is checked by whoever answers it."""
_OUTPUT_BYTES_MAX: Final = 1 << 20
"""Of what one call prints; what is beyond is shown in the terminal only."""
_MARK_S: Final = 2.0
"""For output that is under way when the answer has arrived."""
_KILL_S: Final = 5.0
_PIPE_BYTES_MIN: Final = 4096
"""What a pipe takes even if nobody reads it, on every system."""

Print = Callable[[str], None]


class Ended(Exception):
    """The process is gone; *code* is its exit code, None if a signal ended it."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"exited with code {code}")
        self.code = code


class Child:
    """
    A running process.

    Args:
        source: What to run.
        python: The interpreter.
        environment: All of the process's variables.
        print_line: Takes what the code prints, line by line, on another thread.
    """

    def __init__(
        self, source: Source, python: Path, environment: Mapping[str, str], print_line: Print
    ) -> None:
        nonce = secrets.token_hex(8)
        self._mark = mark_of(nonce)
        self._print = print_line
        self._frames: queue.Queue[frames.Frame | None] = queue.Queue()
        self._marks = threading.Semaphore(0)
        self._output = bytearray()
        self._output_lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                [str(python), "-u", _runtime(), "--here", source.entry, nonce],
                cwd=source.root,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # Its own group: Ctrl-C is for us, and what it started is killed with it.
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise NotHere(
                f"{python} cannot be started: {error.strerror}", hint="Name one with --python."
            ) from error
        process = self._process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._input: IO[bytes] = process.stdin
        self._is_over = False
        for read, stream in (
            (self._read_frames, process.stdout),
            (self._read_output, process.stderr),
        ):
            threading.Thread(target=read, args=(stream,), daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it could take a call."""
        return not self._ends(within_s=0.0)

    def receive(self, timeout_s: float) -> frames.Frame:
        """
        Wait for the next frame, and for what was printed before it.

        Raises:
            TimeoutError: There is none in time.
            Ended: There will be none.
        """
        try:
            frame = self._frames.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if frame is None:
            self._frames.put(None)
            self._ends(within_s=_KILL_S)
            self._marks.acquire(timeout=_MARK_S)  # at the end of the output there is one more
            code = self._process.returncode
            raise Ended(None if code is None or code < 0 else code)
        self._marks.acquire(timeout=_MARK_S)
        return frame

    def send(self, head: bytes, body: bytes, *, timeout_s: float) -> None:
        """
        Send one frame; a process that is gone shows in `receive`.

        Raises:
            TimeoutError: The process does not take it in time; it was killed.
        """
        self._take_output()  # what was printed between calls belongs to none
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            _kill_group(self._process)

        limit = threading.Timer(timeout_s, give_up)
        limit.daemon = True
        if len(body) > _PIPE_BYTES_MIN:
            limit.start()
        with contextlib.suppress(BrokenPipeError, OSError):
            for piece in (head, body):
                left = memoryview(piece)
                while left:
                    left = left[self._input.write(left) :]
        limit.cancel()
        if is_late.is_set():
            raise TimeoutError

    def printed(self) -> str:
        """Return what was printed since `send`."""
        return self._take_output().decode("utf-8", "replace")

    def kill(self) -> None:
        """End it and what it started, now; idempotent."""
        if not self._ends(within_s=0.0):
            _kill_group(self._process)
            self._ends(within_s=_KILL_S)
        with contextlib.suppress(OSError):
            self._input.close()

    def leave(self, patience_s: float) -> None:
        """Let it end by itself, as at the end of a slot, and kill it if it does not."""
        with contextlib.suppress(OSError):
            self._input.close()
        self._ends(within_s=patience_s)
        self.kill()

    def _ends(self, *, within_s: float) -> bool:
        """Whether it ends in time; then so does what it has started, which would live on."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        if not self._is_over:
            # Once, and now: later the number may be that of somebody else's process.
            self._is_over = True
            if sys.platform != "win32":  # which finds nothing below a process that is gone
                _kill_group(self._process)
        return True

    def _take_output(self) -> bytes:
        with self._output_lock:
            output = bytes(self._output)
            self._output.clear()
        return output

    def _read_frames(self, stream: IO[bytes]) -> None:
        try:
            while (data := _exactly(stream, frames.PREFIX.size)) is not None:
                prefix = frames.decode_prefix(
                    data, header_len_max=frames.HEADER_BYTES_MAX, body_len_max=_BODY_BYTES_MAX
                )
                header, body = (
                    _exactly(stream, prefix.header_len),
                    _exactly(stream, prefix.body_len),
                )
                if header is None or body is None:
                    break
                self._frames.put(frames.Frame(prefix.type, frames.decode_header(header), body))
        except (frames.ProtocolError, OSError, ValueError):
            _kill_group(self._process)
        finally:
            self._frames.put(None)
            stream.close()

    def _read_output(self, stream: IO[bytes]) -> None:
        rest, line = b"", b""
        while True:
            try:
                data = os.read(stream.fileno(), 1 << 16)
            except (OSError, ValueError):
                data = b""
            *parts, rest = (rest + data).split(self._mark)
            if data:  # the beginning of a mark waits for its end
                keep = _overlap(rest, self._mark)
                tail, rest = rest[: len(rest) - keep], rest[len(rest) - keep :]
            else:
                tail, rest = rest, b""
            for part in parts:
                line = self._take(line + part, part, flush=True)
                self._marks.release()
            line = self._take(line + tail, tail, flush=not data)
            if not data:
                self._marks.release()
                stream.close()
                return

    def _take(self, lines: bytes, new: bytes, *, flush: bool) -> bytes:
        """Keep what is new, print whole lines, and return what is left of the last one."""
        with self._output_lock:
            self._output += new[: _OUTPUT_BYTES_MAX - len(self._output)]
        *whole, rest = lines.split(b"\n")
        if (flush and rest) or len(rest) > _OUTPUT_BYTES_MAX:
            whole.append(rest)
            rest = b""
        for each in whole:
            self._print(each.decode("utf-8", "replace").rstrip("\r"))
        return rest


def call_head(content_type: str, timeout_s: float, size_bytes: int) -> bytes:
    """Return the beginning of the frame of a call."""
    return frames.encode_call_head(1, content_type, int(timeout_s * 1000), size_bytes)


def wait_loaded(child: Child, timeout_s: float) -> tuple[frames.Frame, float]:
    """Wait for the end of loading; returns the frame that tells it, and how long it took."""
    began_at = time.monotonic()
    frame = child.receive(timeout_s)
    return frame, time.monotonic() - began_at


def _runtime() -> str:
    """Return the directory of the runtime, which any interpreter runs as a program."""
    spec = find_spec("algorium_runtime")
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(next(iter(spec.submodule_search_locations))))


def _exactly(stream: IO[bytes], length: int) -> bytes | None:
    """Return so many bytes, or None if the stream ends first."""
    pieces, missing = [], length
    while missing:
        piece = stream.read(missing)
        if not piece:
            return None
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _overlap(data: bytes, mark: bytes) -> int:
    """Return how many bytes at the end of *data* could be the beginning of *mark*."""
    for count in range(min(len(data), len(mark) - 1), 0, -1):
        if mark.startswith(data[-count:]):
            return count
    return 0


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    if sys.platform == "win32":
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(command, check=False, capture_output=True)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
