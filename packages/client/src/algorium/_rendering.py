"""How the command `algo` shows results and listings. Pure: values in, text or bytes out."""

import base64
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command line loads the client only when it calls
    from algorium import (
        AlgoResponse,
        DataDirectory,
        DataFile,
        UnfinishedUpload,
        UsageRecord,
        UsageTotal,
    )


def result_bytes(
    response: "AlgoResponse", *, is_raw: bool, is_json: bool, is_for_people: bool
) -> bytes:
    """
    Write a result down.

    Args:
        response: Of a call.
        is_raw: Exactly the bytes of the result, without a line end.
        is_json: Result and metadata, as JSON.
        is_for_people: JSON is indented.
    """
    result = response.result
    if response.metadata.content_type == "void" and not is_json:
        return b""
    indent = 2 if is_for_people else None
    if is_json:
        metadata = {k: v for k, v in dataclasses.asdict(response.metadata).items() if v}
        shown = base64.b64encode(result).decode() if isinstance(result, bytes) else result
        return _json_line({"metadata": metadata, "result": shown}, indent=indent)
    if isinstance(result, bytes):
        return result
    if isinstance(result, str):
        return result.encode() if is_raw else f"{result}\n".encode()
    if is_raw:
        return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    return _json_line(result, indent=indent)


def details(response: "AlgoResponse") -> str:
    """Tell what the algorithm printed, its times, and the name of the request."""
    metadata = response.metadata
    times = {"duration": metadata.duration, **metadata.timing}
    told = [f"{name} {seconds:.4f} s" for name, seconds in times.items() if seconds is not None]
    if metadata.request_id:
        told.append(f"request {metadata.request_id}")
    printed = metadata.stdout.rstrip("\n") if metadata.stdout else ""
    return "\n".join(text for text in (printed, ", ".join(told)) if text)


def entry_json(entry: "DataFile | DataDirectory") -> dict[str, Any]:
    """Describe what is in a directory, for programs."""
    known: dict[str, Any] = {"name": entry.name, "uri": str(entry.uri)}
    modified_at = getattr(entry, "modified_at", None)
    if modified_at is None:
        return {"type": "directory", **known}
    size_bytes = getattr(entry, "size_bytes", None)
    return {"type": "file", **known, "size": size_bytes, "modified_at": modified_at.isoformat()}


def entry_line(entry: "DataFile | DataDirectory", *, path: str, is_long: bool) -> str:
    """Describe what is in a directory, for people; *path* is how it is called there."""
    modified_at = getattr(entry, "modified_at", None)
    if modified_at is None:
        return f"{'-':>19}  {'-':>12}  {path}/" if is_long else f"{path}/"
    if not is_long:
        return path
    return f"{modified_at:%Y-%m-%d %H:%M:%S}  {getattr(entry, 'size_bytes', 0):>12}  {path}"


def upload_json(upload: "UnfinishedUpload") -> dict[str, Any]:
    """Describe an upload that was cut off, for programs."""
    known = dataclasses.asdict(upload)
    del known["parts"], known["parts_max"]
    expires_at = upload.expires_at
    return {**known, "expires_at": expires_at.isoformat() if expires_at else None}


def upload_line(upload: "UnfinishedUpload") -> str:
    """Describe an upload that was cut off, for people."""
    until = f"{upload.expires_at:%Y-%m-%d %H:%M:%S}" if upload.expires_at else "-"
    size = "-" if upload.size_bytes is None else upload.size_bytes
    return f"{upload.upload_id}  {until:>19}  {size:>12}  {upload.uri}"


def usage_json(row: "UsageRecord | UsageTotal") -> dict[str, Any]:
    """Describe a record or a sum of usage, for programs: what it was not told apart by is out."""
    known = dataclasses.asdict(row)
    if "started_at" in known:
        return known | {"started_at": known["started_at"].isoformat()}
    return {name: value for name, value in known.items() if value != ""}


def usage_lines(records: "Iterable[UsageRecord]") -> Iterable[str]:
    """Describe calls, for people."""
    for record in records:
        name = f"{record.algorithm}/{record.version or record.commit}"
        yield (
            f"{record.started_at:%Y-%m-%d %H:%M:%S}  {record.outcome:<11}  {record.run_s:>9.3f} s"
            f"  {record.cpu_s:>9.3f} s CPU  {name}  {record.request_id}"
        )


def usage_table(totals: "Sequence[UsageTotal]", by: Sequence[str]) -> Iterable[str]:
    """Describe sums of calls, for people."""
    names = [name for name in ("account", "algorithm", "version", "day") if name in by]
    rows = [[_told_apart(total, name) for name in names] for total in totals]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]

    def line(cells: Sequence[str], numbers: Sequence[str]) -> str:
        words = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([*words, *(f"{number:>12}" for number in numbers)])

    yield line(names, ("calls", "errors", "run s", "CPU s"))
    for row, total in zip(rows, totals, strict=True):
        seconds = (f"{total.run_s:.3f}", f"{total.cpu_s:.3f}")
        yield line(row, (str(total.calls), str(total.errors), *seconds))


def _told_apart(total: "UsageTotal", name: str) -> str:
    if name == "version" and not total.version:
        return total.commit[:12]
    value: str = getattr(total, name)
    return value


def is_text(content: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_line(value: Any, *, indent: int | None) -> bytes:
    return f"{json.dumps(value, ensure_ascii=False, indent=indent)}\n".encode()
