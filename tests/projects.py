"""Algorithm projects, and catalogs from which a server publishes them."""

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_ENTRY = """
[[algorithm]]
owner = {owner}
name = {name}
language = {language}
scaling = {scaling}
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


def write_examples(
    place: Path,
    sources: Mapping[str, str | Path],
    requirements: str = "",
    *,
    scaling: Mapping[str, str] | None = None,
) -> Path:
    """
    Write one project per reference.

    Args:
        place: Directory to fill.
        sources: By `owner/name`, the text of `src/NAME.py`, or the directory of a whole project,
            in the language that its `algorithmia.conf` names.
        requirements: The same `requirements.txt` for all that are a single module.
        scaling: By `owner/name`, how it wants to be run, as an inline table of TOML.

    Returns:
        *place*, for `--examples-dir`.
    """
    entries = []
    for ref, source in sources.items():
        owner, name = ref.split("/")
        project = place / owner / name
        if isinstance(source, Path):
            shutil.copytree(source, project)
        else:
            _write_project(project, name, source, requirements)
        entries.append(
            _ENTRY.format(
                owner=json.dumps(owner),
                name=json.dumps(name),
                language=json.dumps(_language(project)),
                scaling=(scaling or {}).get(ref, "{}"),
                source=json.dumps(f"{owner}/{name}"),
            )
        )
    (place / "catalog.toml").write_text("".join(entries), encoding="utf-8")
    return place


def _language(project: Path) -> str:
    conf = project / "algorithmia.conf"
    named: str = json.loads(conf.read_text()).get("language", "") if conf.exists() else ""
    return named or "python3"


def _write_project(project: Path, name: str, source: str, requirements: str) -> None:
    (project / "src").mkdir(parents=True)
    (project / "src" / "__init__.py").touch()
    (project / "src" / f"{name}.py").write_text(source, encoding="utf-8")
    (project / "requirements.txt").write_text(requirements, encoding="utf-8")
    (project / "algorithmia.conf").write_text(json.dumps({"algoname": name}), encoding="utf-8")


def without_requirements(examples: Path, place: Path) -> Path:
    """
    Copy the examples whose projects need no packages, with a catalog of them.

    Args:
        examples: Projects and their catalog.
        place: Directory to make.

    Returns:
        *place*, for `--examples-dir`.
    """

    def needs_none(algorithm: Mapping[str, Any]) -> bool:
        lines = [
            line
            for version in algorithm["version"]
            for line in (examples / version["source"] / "requirements.txt").read_text().splitlines()
        ]
        return not any(line.strip() and not line.startswith("#") for line in lines)

    # Other languages: their tools are slow, or fetch something anyway.
    return _copied(examples, place, lambda each: _is_python(each) and needs_none(each))


def only_python(examples: Path, place: Path) -> Path:
    """Copy the examples in Python, with a catalog of them; arguments and result as above."""
    return _copied(examples, place, _is_python)


def _is_python(algorithm: Mapping[str, Any]) -> bool:
    return "language" not in algorithm


def _copied(examples: Path, place: Path, is_wanted: Callable[[Mapping[str, Any]], bool]) -> Path:
    shutil.copytree(examples, place)
    head, *entries = (examples / "catalog.toml").read_text(encoding="utf-8").split("[[algorithm]]")
    kept = [
        f"[[algorithm]]{entry}"
        for entry in entries
        if is_wanted(tomllib.loads(f"[[algorithm]]{entry}")["algorithm"][0])
    ]
    (place / "catalog.toml").write_text("".join((head, *kept)), encoding="utf-8")
    return place
