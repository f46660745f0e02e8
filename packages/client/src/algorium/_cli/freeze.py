"""`algo freeze`."""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from algorium._cli.program import (
    AsJson,
    Failed,
    Server,
    Switch,
    app,
    connect,
    note,
    write_json,
    write_line,
)
from algorium._manifest import (
    FREEZE_SUFFIX,
    MANIFEST,
    ManifestError,
    faults,
    frozen,
    parse,
    sources,
)

if TYPE_CHECKING:
    from algorium import Algorium

_PIECE_BYTES = 1 << 20


@app.command
def freeze(
    manifest: Path = Path(MANIFEST),
    /,
    *,
    check: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Write down which model files an algorithm was made with.

    Reads every file that the manifest names, and writes their digests into a freeze file beside it.
    Commit both.

    Parameters
    ----------
    manifest
        The manifest.
    check
        Write nothing: see whether the freeze file still fits the manifest and the files.
    as_json
        Print the freeze file; with --check, what does not fit.
    """
    target = manifest.with_name(manifest.name + FREEZE_SUFFIX)
    try:
        wanted = parse(_read(manifest), name=manifest.name) if manifest.exists() else None
        if wanted is None and not check:
            raise Failed(
                f"there is no {manifest}",
                hint="Run it in the directory of the algorithm, or say where the manifest is.",
            )
        known = parse(_read(target), name=target.name) if check else {}
    except ManifestError as error:
        raise Failed(str(error), hint="docs/guides/models.md shows a manifest.") from error
    with connect(server) as client:
        if check:
            _check(client, wanted, known, as_json=as_json)
            return
        assert wanted is not None
        made = frozen(wanted, _checksums(client, wanted), at=str(time.time()))
    half = target.with_name(f".{target.name}.half")
    half.write_text(json.dumps(made), "utf-8")
    half.replace(target)
    if as_json:
        write_json(made)
    else:
        write_line(str(target))


def _check(
    client: "Algorium", wanted: dict[str, Any] | None, known: dict[str, Any], *, as_json: bool
) -> None:
    found = list(faults(wanted, known, _checksums(client, known)))
    if as_json:
        write_json({"is_current": not found, "faults": found})
    elif not found:
        write_line("current")
    if found:
        if not as_json:
            for line in found:
                write_line(line)
        raise Failed("the freeze file does not fit", hint="Run `algo freeze`, and commit it.")


def _checksums(client: "Algorium", manifest: dict[str, Any]) -> dict[str, str]:
    """Return the MD5 of every file, read from its beginning to its end, each once."""
    checksums = {}
    for uri in dict.fromkeys(sources(manifest)):
        note(f"reading {uri}")
        digest = hashlib.md5(usedforsecurity=False)
        with client.file(uri).get() as reader:
            while piece := reader.read1(_PIECE_BYTES):
                digest.update(piece)
        checksums[uri] = digest.hexdigest()
    return checksums


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Failed(f"there is no {path}", hint="`algo freeze` makes it.") from None
