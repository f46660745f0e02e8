"""
The adapter in front of a pipe: frames to the platform, lines and a FIFO to the algorithm.

A pipe is a process in any language that speaks the text protocol of `pipe_messages`. This program
starts it, and does for it what `runner` does for Python:

    the pipe …                                        what follows
    prints a line with PIPE_INIT_COMPLETE             READY
    writes an error into the FIFO before that         LOAD_ERROR, then exit code 1
    ends before that                                  the same exit code, or the same signal
    does neither                                      the platform's deadline for loading
    answers a request                                 RESULT or ERROR
    answers what is no JSON                           ERROR; the pipe lives on
    writes what begins no response                    ERROR, the last, then exit code 70
    writes more than one response to a request        exit code 70
    ends during a call, or between two                the same exit code, or the same signal

The FIFO is made and opened before the pipe starts and stays open for its life: a pipe may open and
close it as it likes, and none gets an error for writing a newline too late. Standard error is the
platform's own; standard output passes through here, because the line above must be found in it.
Whatever the pipe printed before its response is passed on before the response is. Nothing here
polls and no buffer grows with the output: where the platform reads slowly, the pipe waits.

At the end of the platform's stream the pipe's input is closed; it gets three seconds to leave.

Runs in the server's own interpreter, whatever the algorithm is written in.

Source: runtime specification, "Worker protocol".
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import stat
import sys
import time
from typing import Any, NoReturn, Sequence

from algorium_runtime import frames
from algorium_runtime.connection import Connection
from algorium_runtime.failures import Failure
from algorium_runtime.pipe_messages import (
    NOT_JSON,
    Handshake,
    OutOfStep,
    Response,
    ResponseReader,
    decode_response,
    encode_request,
)
from algorium_runtime.values import InputError

SLOT_DESCRIPTOR = 3
FIFO_NAME = "algoout"
FIFO_VARIABLE = "ALGORIUM_FIFO"
"""Tells our own pipes where the FIFO is; all others look for `/tmp/algoout`."""
STOP_GRACE_S = 3.0
"""Between the end of a pipe's input and its end."""
OUT_OF_STEP_CODE = 70
"""The exit code that sysexits(3) has for internal errors."""

_READ_BYTES = 64 * 1024
"""What a pipe of the system holds."""
_DRAIN_BYTES_MAX = 4 * 1024 * 1024
"""Of output passed on before a response; a thread that prints for ever must not hold that up."""
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_RESET_IN_CHILD = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these, and what is ignored stays so in a child."""


def run(command: Sequence[str], *, descriptor: int = SLOT_DESCRIPTOR) -> NoReturn:
    """Serve the pipe that *command* starts until the stream ends, or the pipe does."""
    try:
        connection = _Connection(descriptor)
    except OSError as error:
        sys.exit(f"descriptor {descriptor} is no socket ({error.strerror})")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the platform is gone
        _Adapter(connection, descriptor).serve(command)
    os._exit(0)


class _Connection(Connection):
    @property
    def has_more(self) -> bool:
        """Whether a frame, or its beginning, came along with the one before."""
        return bool(self._ahead)


class _Adapter:
    """
    The loop around one pipe.

    Everything that can happen is waited for in `_wait`, which passes output on and remembers the
    rest: `_response`, `_out_of_step`, `_status`, `_is_call_waiting`, `_is_platform_gone`.
    """

    def __init__(self, connection: _Connection, descriptor: int) -> None:
        self._started_s = time.perf_counter()
        self._connection = connection
        self._slot = descriptor
        self._poll = select.poll()
        self._reader = ResponseReader()
        self._response: bytes | None = None
        self._out_of_step: OutOfStep | None = None
        self._handshake = Handshake()
        self._pid = 0
        self._status: int | None = None
        self._unsent = memoryview(b"")
        self._is_call_waiting = False
        self._is_platform_gone = False
        self._is_told_to_end = False
        self._stdin = self._stdout = self._fifo = -1
        self._woken = self._wake_up_on_signals()

    def serve(self, command: Sequence[str]) -> NoReturn:
        try:
            self._start(command)
        except OSError as error:
            self._fail_to_load(Failure(f"cannot start {command[0]}: {error.strerror}"))
        self._load()
        self._connection.send(frames.READY, {"load_s": time.perf_counter() - self._started_s})
        while (frame := self._next_call()) is not None:
            self._answer(frame)
            del frame  # an idle slot holds on to neither input nor result
        self._stop()

    def _start(self, command: Sequence[str]) -> None:
        path = os.path.join(os.environ.get("TMPDIR", "/tmp"), FIFO_NAME)  # noqa: S108 - see above
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o644)
        # Both ends: reading never meets an end, and opening waits for nobody.
        self._fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(self._fifo).st_mode):
            raise FileExistsError(17, f"{path} is in the way")
        stdin, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        for fd in (self._stdin, self._stdout):
            os.set_blocking(fd, False)
        try:
            self._pid = os.posix_spawnp(
                command[0],
                tuple(command),
                {**os.environ, FIFO_VARIABLE: path},
                file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)],
                setsigdef=_RESET_IN_CHILD,
            )
        finally:
            os.close(stdin)
            os.close(stdout)
        for fd in (self._fifo, self._stdout, self._woken):
            self._poll.register(fd, select.POLLIN)

    def _load(self) -> None:
        self._poll.register(self._slot, _GONE)
        while True:
            if self._out_of_step is not None:
                self._fail_to_load(Failure(f"the pipe is out of step: {self._out_of_step}"))
            if self._response is not None:
                failure = decode_response(self._response).failure
                unasked = Failure("the pipe answered before it was asked")
                self._fail_to_load(failure or unasked)
            if self._handshake.is_complete and self._reader.is_between:
                return
            if self._status is not None:
                self._leave(self._status)
            if self._is_platform_gone:
                self._stop()
            self._wait()

    def _fail_to_load(self, failure: Failure) -> NoReturn:
        self._pass_output_on()
        self._connection.send(frames.LOAD_ERROR, {}, failure.encode())
        self._kill()
        os._exit(1)

    def _stop(self) -> NoReturn:
        self._close_stdin()
        deadline_s = time.monotonic() + STOP_GRACE_S
        self._is_platform_gone = True
        with contextlib.suppress(KeyError):
            self._poll.unregister(self._slot)
        while self._status is None and (left_s := deadline_s - time.monotonic()) > 0:
            self._wait(timeout_s=left_s)
        self._kill()
        self._pass_output_on()
        os._exit(0)

    def _kill(self) -> None:
        if self._pid and self._status is None:
            os.kill(self._pid, signal.SIGKILL)

    def _leave(self, status: int) -> NoReturn:
        """End as the pipe did: whoever looks at this process shall see what happened to it."""
        self._pass_output_on()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number not in {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            time.sleep(STOP_GRACE_S)  # not reached: the signal is on its way
        os._exit(os.WEXITSTATUS(status))

    def _lose_step(self, reason: object) -> NoReturn:
        self._pass_output_on()
        _write(2, f"algorium: the pipe is out of step and is ended: {reason}\n".encode())
        self._kill()
        os._exit(OUT_OF_STEP_CODE)

    def _next_call(self) -> frames.Frame | None:
        if not self._connection.has_more:
            self._poll.modify(self._slot, select.POLLIN | _GONE)
            self._is_call_waiting = False
            while not self._is_call_waiting:
                self._check_step()
                if self._status is not None:
                    self._leave(self._status)
                self._wait()
            self._poll.modify(self._slot, _GONE)
        self._check_step()
        frame = self._connection.receive()
        if frame is not None and frame.type != frames.CALL:
            raise frames.ProtocolError(f"a worker expects calls, not frame type {frame.type}")
        return frame

    def _check_step(self) -> None:
        """Between two calls nothing may arrive: it would be taken for the next one's answer."""
        if self._out_of_step is not None:
            self._lose_step(self._out_of_step)
        if self._response is not None or not self._reader.is_between:
            self._lose_step("it wrote more than one response to a request")

    def _answer(self, frame: frames.Frame) -> None:
        header: dict[str, Any] = {"id": frame.header.get("id")}
        try:
            line = encode_request(frame.header.get("content_type", ""), frame.body)
        except InputError as error:
            header.update(kind="input", run_s=0.0)
            self._connection.send(frames.ERROR, header, Failure(str(error)).encode())
            return
        sent_s = self._send(line)
        del line
        self._wait_for_response()
        header["run_s"] = time.perf_counter() - sent_s
        self._pass_output_on()
        if self._response is not None:
            data, self._response = self._response, None
            response = decode_response(data)
        else:
            response = Response("", b"", Failure(f"{NOT_JSON}: {self._out_of_step}"))
        if self._out_of_step is not None or self._unsent:
            header["is_last"] = True
        if response.failure is None:
            header["content_type"] = response.content_type
            self._connection.send(frames.RESULT, header, response.body)
        else:
            header["kind"] = "algorithm"
            self._connection.send(frames.ERROR, header, response.failure.encode())
        if self._unsent:
            self._lose_step("it answered before it had read the request")

    def _send(self, line: bytes) -> float:
        """Write a request while the pipe may be writing, too; returns when it was written."""
        self._unsent = memoryview(line)
        self._write_on()
        if self._unsent:
            self._poll.register(self._stdin, select.POLLOUT)
            while self._unsent and not self._is_answered:
                self._wait_in_call()
            if self._stdin >= 0:
                self._poll.unregister(self._stdin)
        return time.perf_counter()

    def _wait_for_response(self) -> None:
        while not self._is_answered:
            self._wait_in_call()
        if self._response is None and self._out_of_step is None:
            assert self._status is not None
            self._leave(self._status)

    def _wait_in_call(self) -> None:
        if self._is_platform_gone:
            self._stop()
        self._wait()

    @property
    def _is_answered(self) -> bool:
        """Whether there is nothing more to wait for, an answer or not."""
        return (
            self._response is not None or self._out_of_step is not None or self._status is not None
        )

    def _wait(self, timeout_s: float | None = None) -> None:
        """Wait for anything to happen, and take note of it."""
        timeout_ms = None if timeout_s is None else int(timeout_s * 1000) + 1
        events = dict(self._poll.poll(timeout_ms))
        ended: int | None = None
        # The order matters: an error in the FIFO counts for more than the handshake that may
        # follow it, and both for more than the end of the process.
        if self._woken in events:
            os.read(self._woken, _READ_BYTES)
            if self._is_told_to_end:
                self._close_stdin()
            if self._status is None:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                ended = status if pid else None
        if self._fifo in events or ended is not None:
            self._read_fifo(to_the_end=ended is not None)
        if self._stdout in events and self._read_stdout() == 0:
            self._poll.unregister(self._stdout)  # closed; the process may live on
        if self._stdin in events:
            self._write_on()
        if self._slot in events:
            self._is_platform_gone = bool(events[self._slot] & _GONE)
            self._is_call_waiting = True
        if ended is not None:
            self._status = ended

    def _read_fifo(self, *, to_the_end: bool) -> None:
        while self._response is None and self._out_of_step is None:
            try:
                data = os.read(self._fifo, _READ_BYTES)
            except BlockingIOError:
                return
            try:
                self._response = self._reader.feed(data)
            except OutOfStep as error:
                self._out_of_step = error
            if not to_the_end:
                return

    def _read_stdout(self) -> int | None:
        """Pass output on; returns how many bytes that were, None if there is nothing for now."""
        try:
            data = os.read(self._stdout, _READ_BYTES)
        except BlockingIOError:
            return None
        _write(1, self._handshake.pass_on(data))
        return len(data)

    def _pass_output_on(self) -> None:
        budget = _DRAIN_BYTES_MAX
        while budget > 0 and self._stdout >= 0:
            count = self._read_stdout()
            if not count:
                break
            budget -= count
        _write(1, self._handshake.give_up())

    def _write_on(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it reads no more; its end will tell
            self._close_stdin()

    def _close_stdin(self) -> None:
        self._unsent = memoryview(b"")
        if self._stdin >= 0:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    def _wake_up_on_signals(self) -> int:
        """
        Make the end of the pipe, and SIGTERM, end a `_wait`; returns the descriptor to watch.

        SIGTERM goes to every process of a sandbox at once: the pipe has its own, and what it
        makes of it decides.
        """
        woken, waker = os.pipe()
        for fd in (woken, waker):
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._note_sigterm)
        return woken

    def _note_sigterm(self, *_: object) -> None:
        self._is_told_to_end = True


def _write(fd: int, data: bytes) -> None:
    """Write all of it, however long the reader takes."""
    with contextlib.suppress(BrokenPipeError):  # nobody reads it any more
        while data:
            data = data[_write_some(fd, data) :]


def _write_some(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:  # somebody who shares the pipe made it so
        select.select([], [fd], [])
        return 0
