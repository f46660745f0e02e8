"""Algorithm projects, and catalogs from which a server publishes them."""

import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

_ENTRY = """
[[algorithm]]
owner = {owner}
name = {name}
tagline = ""
summary = ""
license = "apache2"

[[algorithm.version]]
version = "1.0.0"
source = {source}
release_notes = ""
sample_input = ""
sample_output = ""
"""


def write_examples(place: Path, sources: Mapping[str, str], requirements: str = "") -> Path:
    """
    Write one project per reference, each a single module.

    Args:
        place: Directory to fill.
        sources: By `owner/name`, the text of `src/NAME.py`.
        requirements: The same `requirements.txt` for all.

    Returns:
        *place*, for `--examples-dir`.
    """
    entries = []
    for ref, source in sources.items():
        owner, name = ref.split("/")
        project = place / owner / name
        (project / "src").mkdir(parents=True)
        (project / "src" / "__init__.py").touch()
        (project / "src" / f"{name}.py").write_text(source, encoding="utf-8")
        (project / "requirements.txt").write_text(requirements, encoding="utf-8")
        (project / "algorithmia.conf").write_text(json.dumps({"algoname": name}), encoding="utf-8")
        entries.append(
            _ENTRY.format(
                owner=json.dumps(owner), name=json.dumps(name), source=json.dumps(f"{owner}/{name}")
            )
        )
    (place / "catalog.toml").write_text("".join(entries), encoding="utf-8")
    return place


def without_requirements(examples: Path, place: Path) -> Path:
    """
    Copy the examples whose projects need no packages, with a catalog of them.

    Args:
        examples: Projects and their catalog.
        place: Directory to make.

    Returns:
        *place*, for `--examples-dir`.
    """
    shutil.copytree(examples, place)
    head, *entries = (examples / "catalog.toml").read_text(encoding="utf-8").split("[[algorithm]]")
    kept = [f"[[algorithm]]{entry}" for entry in entries if not _needs_packages(entry, examples)]
    (place / "catalog.toml").write_text("".join((head, *kept)), encoding="utf-8")
    return place


def _needs_packages(entry: str, examples: Path) -> bool:
    versions = tomllib.loads(f"[[algorithm]]{entry}")["algorithm"][0]["version"]
    lines = [
        line
        for version in versions
        for line in (examples / version["source"] / "requirements.txt").read_text().splitlines()
    ]
    return any(line.strip() and not line.startswith("#") for line in lines)
