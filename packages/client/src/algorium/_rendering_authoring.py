"""How the command `algo` shows algorithms, builds and versions. Pure: values in, text out."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from algorium import AlgorithmInfo, BuildInfo, EnvironmentInfo, FailedCall

_SHA_CHARS: Final = 12


def as_json(value: Any) -> dict[str, Any]:
    """Describe a value of the client for programs; times are in ISO 8601."""
    told: dict[str, Any] = _plain(dataclasses.asdict(value))
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value.isoformat() if isinstance(value, datetime) else value


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out rows for people, below a line of heads; nothing for no rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def fact_lines(facts: Mapping[str, str]) -> Iterator[str]:
    """Lay out what is known of one thing for people, a line for each fact that is not empty."""
    width = max(map(len, facts))
    for name, text in facts.items():
        if text:
            yield f"{name:<{width}}  {text}"


def algorithm_lines(algorithm: "AlgorithmInfo") -> Iterator[str]:
    """Describe an algorithm for people."""
    version, build = algorithm.version, algorithm.build
    facts = {
        "name": f"{algorithm.owner}/{algorithm.name}" if algorithm.owner else algorithm.name,
        "id": algorithm.algorithm_id,
        "label": algorithm.label,
        "tagline": algorithm.tagline,
        "language": algorithm.language,
        "environment": algorithm.environment_id,
        "callable by": {"public": "everybody"}.get(algorithm.callability, "owner"),
        "source": algorithm.source_visibility,
        "license": algorithm.license,
        "network": algorithm.network_access,
        "version": version.number if version is not None else "",
        "commit": version.commit if version is not None else "",
        "build": f"{build.status} {build.build_id}" if build is not None else "none yet",
    }
    return fact_lines(facts)


def version_rows(versions: Sequence["AlgorithmInfo"]) -> Iterator[str]:
    """Describe versions for people."""
    rows = []
    for each in versions:
        version, build = each.version, each.build
        rows.append(
            (
                (version.number if version is not None else "") or "-",
                each.callability or "-",
                (version.commit if version is not None else "")[:_SHA_CHARS],
                _minute(build.finished_at if build is not None else None),
                _first_line(version.release_notes if version is not None else ""),
            )
        )
    return table(("version", "callable", "commit", "built", "notes"), rows)


def build_rows(builds: Sequence["BuildInfo"]) -> Iterator[str]:
    """Describe builds for people."""
    return table(
        ("build", "status", "commit", "started", "took", "version"),
        [
            (
                build.build_id,
                build.status,
                build.commit[:_SHA_CHARS],
                _minute(build.started_at),
                _took(build),
                build.version or "-",
            )
            for build in builds
        ],
    )


def error_lines(errors: Sequence["FailedCall"], *, with_stack: bool) -> Iterator[str]:
    """Describe failed calls for people."""
    for error in errors:
        yield (
            f"{error.failed_at:%Y-%m-%d %H:%M:%S}  {error.algorithm}/{error.version}"
            f"  {error.caller}  {error.error_type}: {_first_line(error.message)}"
            f"  {error.request_id}"
        )
        if with_stack:
            yield f"  input: {error.input}"
            yield from (f"  {line}" for line in error.stacktrace.splitlines())


def environment_rows(environments: Sequence["EnvironmentInfo"]) -> Iterator[str]:
    """Describe environments for people."""
    return table(
        ("environment", "language", "name", "machine", "description"),
        [
            (
                each.environment_id,
                each.language,
                each.display_name,
                each.machine_type,
                _first_line(each.description),
            )
            for each in environments
        ],
    )


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment is not None else "-"


def _took(build: "BuildInfo") -> str:
    if build.started_at is None or build.finished_at is None:
        return "-"
    return f"{(build.finished_at - build.started_at).total_seconds():.1f} s"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
