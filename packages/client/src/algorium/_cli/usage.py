"""`algo usage`."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

from algorium._cli.program import AsJson, Server, UsageError, app, connect, write_json, write_line
from algorium._rendering import usage_json, usage_lines, usage_table

if TYPE_CHECKING:
    from algorium import UsageRecord, UsageTotal

_DIMENSIONS: Final = ("account", "algorithm", "version", "day")
_USAGE_LINES: Final = 50


@app.command
def usage(
    *,
    by: str = "",
    since: str = "",
    until: str = "",
    algorithm: str = "",
    account: str = "",
    limit: int = _USAGE_LINES,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show what your calls took, newest first, or sums of them.

    Parameters
    ----------
    by
        Show sums, told apart by some of account, algorithm, version and day: day,algorithm.
    since
        Calls from this day or time on, such as 2026-03-01 or 2026-03-01T12:00:00Z.
    until
        Calls before this day or time.
    algorithm
        Calls of this algorithm only: OWNER/NAME.
    account
        Calls of this organization, which you own; of any account, with an admin key.
    limit
        How many calls to show at most. Sums are always shown all.
    as_json
        Print a JSON list.
    """
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    told_apart = tuple(word.strip() for word in by.split(",") if word.strip())
    if unknown := set(told_apart) - set(_DIMENSIONS):
        raise UsageError(f"--by knows {', '.join(_DIMENSIONS)}, not {', '.join(sorted(unknown))}")
    if "version" in told_apart and "algorithm" not in told_apart:
        told_apart = ("algorithm", *told_apart)
    wish: dict[str, Any] = {"algorithm": algorithm, "account": account}
    wish |= {"since": _moment(since, "--since"), "until": _moment(until, "--until")}
    rows: Sequence[UsageRecord | UsageTotal]
    with connect(server) as client:
        if told_apart:
            rows = totals = client.usage_totals(by=told_apart, **wish)
            lines = usage_table(totals, told_apart)
        else:
            rows = records = list(islice(client.usage(page=min(limit, 1000), **wish), limit))
            lines = usage_lines(records)
    if as_json:
        write_json([usage_json(row) for row in rows])
        return
    for line in lines:
        write_line(line)


def _moment(text: str, option: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} wants a day or a time such as 2026-03-01, not {text}") from None
