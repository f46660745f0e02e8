"""
Pure: model manifests, and their freeze files.

A manifest lists the files that an algorithm needs. Its freeze file is the same with the MD5 of
every file, the time, and a checksum over all of it. The checksum is the MD5 of the text that Python
makes of the dictionary, so the order of keys counts, and whoever reads the file must not sort them.

Source: wire specification, "Model manifest".
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

MANIFEST: Final = "model_manifest.json"
FREEZE_SUFFIX: Final = ".freeze"
_LISTS: Final = ("required_files", "optional_files")
_CHECKSUM: Final = "md5_checksum"
_LOCK: Final = "lock_checksum"
_TIME: Final = "timestamp"


class ManifestError(ValueError):
    """A manifest or a freeze file is not what it should be."""


def parse(text: str | bytes, *, name: str = MANIFEST) -> dict[str, Any]:
    """
    Read a manifest, or a freeze file.

    Raises:
        ManifestError: It is not JSON of the right form, or names a file twice.
    """
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise ManifestError(f"{name} must be a JSON object")
    if "required_files" not in manifest:
        raise ManifestError(f"{name} has no required_files")
    names: set[str] = set()
    for kind in _LISTS:
        listed = manifest.get(kind, [])
        if not isinstance(listed, list):
            raise ManifestError(f"{kind} of {name} must be a list")
        for number, file in enumerate(listed):
            place = f"{kind}[{number}] of {name}"
            if not isinstance(file, dict):
                raise ManifestError(f"{place} must be an object")
            for member in ("name", "source_uri"):
                if not isinstance(file.get(member), str) or not file[member]:
                    raise ManifestError(f"{place} has no {member}")
            if file["name"] in names:
                raise ManifestError(f"{place}: there are two files called {file['name']!r}")
            names.add(file["name"])
    return manifest


def sources(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the data URI of every file, in order; some may be there twice."""
    for file in _files(manifest):
        yield file["source_uri"]


def frozen(manifest: Mapping[str, Any], checksums: Mapping[str, str], *, at: str) -> dict[str, Any]:
    """
    Return what the freeze file of a manifest holds.

    Args:
        manifest: From `parse`.
        checksums: MD5 of the file at each data URI, hexadecimal.
        at: Seconds since 1970, as a text.
    """
    # Through JSON and back: the checksum is made of what will be read, not of what was written.
    made: dict[str, Any] = json.loads(json.dumps(copy.deepcopy(dict(manifest))))
    made.pop(_LOCK, None)
    made[_TIME] = at
    for file in _files(made):
        file[_CHECKSUM] = checksums[file["source_uri"]]
    made[_LOCK] = lock_checksum(made)
    return made


def lock_checksum(freeze: Mapping[str, Any]) -> str:
    """Return the checksum over a freeze file, as it is to be in it."""
    text = str({key: value for key, value in freeze.items() if key != _LOCK})
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def faults(
    manifest: Mapping[str, Any] | None, freeze: Mapping[str, Any], checksums: Mapping[str, str]
) -> Iterator[str]:
    """
    Yield in a sentence each what is wrong with a freeze file.

    Args:
        manifest: What it was made of; None if that is gone.
        freeze: From `parse`.
        checksums: MD5 of the file that is at each data URI now.
    """
    if freeze.get(_LOCK) != lock_checksum(freeze):
        yield f"{_LOCK} does not fit: the freeze file was changed by hand, and will not be loaded"
    if manifest is not None and _comparable(manifest) != _comparable(freeze):
        yield "the manifest was changed after it was frozen"
    for file in _files(freeze):
        known, now = file.get(_CHECKSUM), checksums.get(file["source_uri"])
        if known is None:
            yield f"{file['name']} has no {_CHECKSUM}"
        elif now is not None and now != known:
            yield f"{file['name']} is another file now: {file['source_uri']} has the MD5 {now}"


def _files(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in _LISTS:
        yield from manifest.get(kind, [])


def _comparable(manifest: Mapping[str, Any]) -> Any:
    """Return a manifest without what freezing adds."""
    bare = copy.deepcopy(dict(manifest))
    for key in (_LOCK, _TIME):
        bare.pop(key, None)
    for file in _files(bare):
        file.pop(_CHECKSUM, None)
    return bare
