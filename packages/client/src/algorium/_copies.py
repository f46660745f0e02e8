"""Files across: transfers of one file from a place on the server to another."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from algorium import _data_flow
from algorium._downloads import DownloadWish, download
from algorium._file_headers import ALWAYS, Condition, FileStat
from algorium._steps import Local, Transfer
from algorium._uploads import UploadWish, upload
from algorium.wire.uris import DataUri


def copy(
    source: DataUri, target: DataUri, *, condition: Condition = ALWAYS, is_move: bool = False
) -> Transfer[FileStat]:
    """
    Copy or move a file within the server; through this machine where the server cannot.

    Raises:
        PathNotFound: There is no such file, or no directory for the new one.
        ConditionFailed: *condition* does not hold at the new place.
    """
    told: tuple[FileStat, bool] = yield _data_flow.stat(source)
    if told[1]:  # a server that knows parts knows this, too
        stored: FileStat = yield _data_flow.copy(
            source,
            target,
            is_move=is_move,
            condition=condition,
            size_bytes=told[0].size_bytes,
        )
        return replace(stored, size_bytes=told[0].size_bytes)
    scratch: Path = yield Local(lambda: Path(tempfile.mkdtemp(prefix="algorium-")))
    try:
        path, version = yield from download(source, scratch / "file", DownloadWish())
        stored = yield from upload(path, target, UploadWish(condition=condition))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if is_move and source != target:
        yield _data_flow.delete(source, if_match=version.etag)
    return stored
