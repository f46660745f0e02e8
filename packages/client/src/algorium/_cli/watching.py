"""Progress bars."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from algorium._progress import Progress, ProgressCallback


@contextmanager
def watched(what: str, *, is_quiet: bool) -> Iterator[ProgressCallback | None]:
    """
    Show on standard error how far a transfer is, if that is a terminal.

    Args:
        what: Is transferred.
        is_quiet: Show nothing.
    """
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    # Inside: it takes longer to load than most commands to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[files]}"),
        console=Console(stderr=True),
        transient=True,
    )
    bar = bars.add_task(what, total=None, files="")

    def show(progress: Progress) -> None:
        files = f"{progress.files_done}/{progress.files_total}" if progress.files_total > 1 else ""
        bars.update(bar, completed=progress.bytes_done, total=progress.bytes_total, files=files)

    with bars:
        yield show
