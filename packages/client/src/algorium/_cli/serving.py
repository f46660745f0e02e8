"""The algorithm of the working directory, served on this machine until it is interrupted."""

import json
import os
import sys
import threading
from dataclasses import dataclass, field
from typing import Final

from algorium._cli.local import VARIABLES, Bench
from algorium._cli.program import Failed, UsageError, note, write_line
from algorium._local.server import LocalServer, Served
from algorium._local.source import NotHere, Source, dependency_files
from algorium._local.watch import Picture, changed, picture_of
from algorium._local.worker import Failure, Worker

_LOOK_S: Final = 0.25
_PATIENCE_S: Final = 2.0
"""For a call under way when the source changes."""
_SHOWN_MAX: Final = 3


def serve(bench: Bench, *, port: int, reload: bool, as_json: bool) -> None:
    """
    Serve the project of the working directory until interrupted.

    Args:
        bench: Where it runs.
        port: On this machine; 0 for any.
        reload: Load anew when the source is saved.
        as_json: Tell it in lines of JSON.

    Raises:
        Failed: It cannot run here, or the port is taken.
        UsageError: There is no project here.
    """
    source = bench.source()
    environment = bench.environment(source)
    bench.warn(source)
    worker = bench.worker(source, environment)
    terminal = _Terminal(as_json=as_json)
    try:
        local = LocalServer(source.ref, worker, port=port, tell=terminal.tell)
    except OSError as error:
        raise Failed(
            f"port {port} cannot be had: {error.strerror or error}",
            hint="Name another one with --port; 0 takes any that is free.",
        ) from error
    watcher = _Watcher(bench, source, worker, terminal)
    try:
        terminal.loaded(worker.load())
        terminal.began(local)
        if reload:
            watcher.run()
        while not threading.Event().wait(_LOOK_S):  # Windows interrupts no wait without an end
            pass
    except KeyboardInterrupt:
        note("stopped")
    finally:
        local.close()
        worker.close()


@dataclass
class _Watcher:
    """Replaces the worker's process when the source changes."""

    bench: Bench
    source: Source
    worker: Worker
    terminal: "_Terminal"
    _seen: Picture = field(init=False)

    def __post_init__(self) -> None:
        self._seen = self._look()

    def run(self) -> None:
        """Look until interrupted."""
        never = threading.Event()
        while True:
            never.wait(_LOOK_S)
            seen = self._look()
            if not changed(self._seen, seen):
                continue
            while True:  # many files are saved one after the other: wait until all are
                never.wait(_LOOK_S)
                later = self._look()
                if later == seen:
                    break
                seen = later
            names = changed(self._seen, seen)
            self._seen = seen
            if names:
                self._replace(names)

    def _look(self) -> Picture:
        root = self.source.root
        variables = self.bench.variables_file(root) or root / VARIABLES
        return picture_of(root, (variables, *dependency_files(root)))

    def _replace(self, names: list[str]) -> None:
        shown = [os.path.relpath(name, self.source.root) for name in names[:_SHOWN_MAX]]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        note(f"changed: {', '.join(shown)}{more}")
        try:
            self.source = self.bench.source()
            environment = self.bench.environment(self.source)
            variables = self.bench.process_variables(self.source, environment)
            failure = self.worker.replace(
                self.source, environment.python, variables, patience_s=_PATIENCE_S
            )
        except (Failed, NotHere, UsageError, OSError) as error:
            failure = Failure(message=str(error), error_type="LoadingError")
            self.worker.fail(failure)
        self.terminal.loaded(failure, again=True)


class _Terminal:
    """Tells whoever has started it what happens."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()

    def began(self, local: LocalServer) -> None:
        """Say where it can be called."""
        address = f"{local.address}/v1/algo/{local.ref}"
        if self._as_json:
            self._line(json.dumps({"event": "serving", "address": local.address, "url": address}))
            return
        note("serving without a sandbox: the code may do whatever you may")
        note(f"call: algo run {local.ref} -d INPUT --api-address {local.address}")
        self._line(f"ready {address}")

    def loaded(self, failure: Failure | None, *, again: bool = False) -> None:
        """Say whether it can be called."""
        if failure is None:
            note("loaded again" if again else "loaded")
            return
        note(failure.stacktrace.rstrip() or f"{failure.error_type}: {failure.message}")
        note("it cannot be called: correct that and save")

    def tell(self, served: Served) -> None:
        """Tell of a request."""
        outcome = served.outcome
        failure = outcome if isinstance(outcome, Failure) else None
        kind = "" if outcome is None or failure else getattr(outcome, "content_type", "")
        if self._as_json:
            told = {
                "event": "request",
                "method": served.method,
                "path": served.path,
                "status": served.status,
                "took_s": round(served.took_s, 6),
                "content_type": kind or None,
                "error_type": failure.error_type if failure else None,
                "message": (failure.message if failure else served.message) or None,
            }
            self._line(
                json.dumps({name: value for name, value in told.items() if value is not None})
            )
            return
        result = f"{failure.error_type}: {failure.message}" if failure else kind or served.message
        if failure and failure.stacktrace:
            note(failure.stacktrace.rstrip())
        self._line(
            f"{served.method} {served.path}  {served.status}  {served.took_s:.3f} s  {result}"
        )

    def _line(self, line: str) -> None:
        with self._lock:
            write_line(line)
            sys.stdout.flush()
