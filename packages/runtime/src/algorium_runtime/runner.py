"""
A slot's main loop: load the program once, then answer call after call on one inherited socket.

The author's code runs on the main thread, where signals, event loops and graphics libraries expect
to be. One call is answered before the next is read.

    the author's code …             what follows
    raises an Exception             ERROR; the process lives on
    raises SystemExit               the process ends with that code
    raises another BaseException    the process ends with a traceback on standard error
    returns what JSON cannot say    ERROR; the process lives on
    leaves threads behind           they live on; at the end they get a moment, then are cut off
    forks, and the child returns    the child ends without a word to the platform
    fails while loading             LOAD_ERROR, then exit code 1

Output that was written before the answer is flushed before the answer, so that the platform, which
empties the pipes when the answer arrives, finds all of it.

Source: runtime design, "Slot protocol", "Output capture", "Failures".
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import Any, Callable, Iterator, NoReturn, Protocol, Tuple, TypeVar

from algorium_runtime import frames, selfserving, values
from algorium_runtime.connection import Connection
from algorium_runtime.entry import (
    Apply,
    EntryError,
    Program,
    apply_of,
    enter_project,
    import_entry,
    program_of,
)
from algorium_runtime.failures import Failure, describe

SLOT_DESCRIPTOR = 3

EXIT_GRACE_S = 2.0
"""For exit handlers and left-over threads; the platform kills a second later."""

T = TypeVar("T")
Answer = Tuple[bytes, bytes]
"""A frame: all of it but the body, then the body."""


class Channel(Protocol):
    """The worker's end of the slot protocol, whatever carries it."""

    def receive(self) -> frames.Frame | None:
        """Wait for the next frame; None at the end of the stream."""
        ...

    def send(self, frame_type: int, header: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        ...

    def send_encoded(self, head: bytes, body: bytes) -> None:
        """Send one frame, all of which but the body is encoded already."""
        ...


def run(entry: str, *, descriptor: int = SLOT_DESCRIPTOR) -> NoReturn:
    """Serve the module *entry* of the project in the working directory until the stream ends."""
    started_s = time.perf_counter()
    try:
        connection = Connection(descriptor)
    except OSError as error:
        sys.exit(
            f"descriptor {descriptor} is no socket ({error.strerror}): the platform starts this "
            "program; to try a module by hand, use --check"
        )
    _serve(entry, connection, output_flusher(), started_s=started_s)


def run_here(entry: str, nonce: str) -> NoReturn:
    """
    Serve the module *entry* on an author's own machine, on standard input and output.

    Args:
        entry: The module.
        nonce: Of the marks in the output, see `standard_streams`.
    """
    from algorium_runtime import standard_streams  # noqa: PLC0415 - not in slots

    started_s = time.perf_counter()
    flush = standard_streams.marking(output_flusher(), nonce)
    channel = standard_streams.StandardStreams()
    # The FIFO by which the old kits tell the platform from a laptop would outlive this process.
    _serve(entry, channel, flush, started_s=started_s, fifo_path=None)


def _serve(
    entry: str,
    connection: Channel,
    flush: Callable[[], None],
    *,
    started_s: float,
    fifo_path: str | None = selfserving.FIFO_PATH,
) -> NoReturn:
    def serve(program: Program) -> NoReturn:
        apply = _loaded(program, connection, flush)
        flush()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the platform is gone
            connection.send(frames.READY, {"load_s": time.perf_counter() - started_s})
            _answer_calls(connection, apply, flush)
        sys.exit(0)

    with limited_exit():
        enter_project()
        selfserving.prepare(serve, fifo_path=fifo_path)
        serve(_loaded(lambda: program_of(import_entry(entry)), connection, flush))


def check(entry: str, directory: str | None = None) -> NoReturn:
    """
    Import the module *entry* as a slot would, and exit with 0 if calls could follow.

    Otherwise the exit code is 1 and standard error says why. Nothing is loaded or called.

    Args:
        entry: The module.
        directory: Where to list the third-party modules that came with it, see `preloading`, and
            to describe its input and output, see `schemas`.
    """
    before = set(sys.modules)
    served: list[Program] = []
    with limited_exit():
        enter_project()
        selfserving.prepare(served.append, fifo_path=None)
        try:
            module = import_entry(entry)
            apply = selfserving.apply_of(served[0]) if served else apply_of(module)
        except EntryError as error:
            sys.exit(str(error))
        except Exception as error:  # the author's code may raise anything
            sys.exit(describe(error).stacktrace.rstrip() or str(error))
        except SystemExit as leaving:
            sys.exit(f"{entry} ended the process while it was imported: SystemExit({leaving})")
        if directory is not None:
            from algorium_runtime import preloading  # noqa: PLC0415 - for start-up time: not in slots

            names = preloading.loaded_since(before)
            preloading.write(os.path.join(directory, preloading.WANTED_FILE), names)
            if apply is not None:
                from algorium_runtime import schemas  # noqa: PLC0415 - as above

                for line in schemas.write(directory, apply):
                    print(line)  # noqa: T201 - for the build's log
        sys.exit(0)


@contextlib.contextmanager
def limited_exit() -> Iterator[None]:
    """
    Let exit handlers and other threads hold up the end of the process for a moment only.

    A thread that an algorithm left running would keep the interpreter waiting for ever.
    """
    try:
        yield
    except SystemExit as leaving:
        code = leaving.code
        _cut_off_later(code & 0xFF if isinstance(code, int) else int(code is not None))
        raise
    except BaseException:
        _cut_off_later(1)
        raise


def output_flusher() -> Callable[[], None]:
    """
    Return a function that flushes what the process printed, Python's streams and C's.

    An algorithm may have replaced or closed any of them; that must not cost it the answer.
    """
    flush_c = _c_flusher()
    best_effort = contextlib.suppress(Exception)  # closed, None, or an object of the author's

    def flush() -> None:
        with best_effort:
            sys.stdout.flush()
        with best_effort:
            sys.stderr.flush()
        flush_c(None)

    return flush


def _loaded(step: Callable[[], T], connection: Channel, flush: Callable[[], None]) -> T:
    """Run one step of loading; if it fails, report that and end the process."""
    try:
        return step()
    except Exception as error:  # the author's code may raise anything
        failure = describe(error)
    flush()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(frames.LOAD_ERROR, {}, failure.encode())
    sys.exit(1)


def _answer_calls(connection: Channel, apply: Apply, flush: Callable[[], None]) -> None:
    while True:
        frame = connection.receive()
        if frame is None:
            return
        if frame.type != frames.CALL:
            raise frames.ProtocolError(f"a worker expects calls, not frame type {frame.type}")
        answer = _answer(frame, apply)
        del frame  # an idle slot holds on to neither input nor result
        flush()
        connection.send_encoded(*answer)
        del answer


def _answer(frame: frames.Frame, apply: Apply) -> Answer:
    """Run one call; returns the frame that answers it."""
    started_s = time.perf_counter()
    kind = "algorithm"
    try:
        value = values.decode(frame.header.get("content_type", ""), frame.body)
        content_type, body = values.encode(apply(value))
        run_s = time.perf_counter() - started_s
        call_id = frame.header.get("id")
        return frames.encode_result_head(call_id, content_type, run_s, len(body)), body
    except values.InputError as error:
        kind, body = "input", Failure(str(error)).encode()
    except values.ResultError as error:
        body = Failure(str(error)).encode()
    except Exception as error:  # the author's code may raise anything
        body = describe(error).encode()
    run_s = time.perf_counter() - started_s
    header = {"id": frame.header.get("id"), "kind": kind, "run_s": run_s}
    return frames.encode_head(frames.ERROR, header, len(body)), body


def _cut_off_later(code: int) -> None:
    def cut_off() -> None:
        time.sleep(EXIT_GRACE_S)
        os._exit(code)

    try:
        threading.Thread(target=cut_off, daemon=True).start()
    except RuntimeError:  # no thread to be had: then nobody may linger at all
        os._exit(code)


def _c_flusher() -> Callable[[None], object]:
    try:
        import ctypes  # noqa: PLC0415 - some interpreters are built without it

        flush: Callable[[None], object] = ctypes.CDLL(None).fflush
    except (ImportError, OSError, AttributeError, TypeError):  # the last on Windows
        return lambda _: None
    return flush
