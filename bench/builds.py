"""
From a push to something that can be called, with numpy and scikit-learn, step by step.

The first build installs both, which takes a package registry; the others change the source only.
Aims: the first is bounded by the download, the others take less than 3 s from push to answer.

    .venv/bin/python bench/builds.py --rounds 5
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rig import BuildAuthor, Server, options_of, parsed, serving, show

SOURCE: Final = """
import numpy, sklearn.linear_model
NUMBER = {number}
def apply(input):
    return float(numpy.sum(input))
"""
TEST: Final = "from .Sums import apply\n\ndef test_sum():\n    assert apply([1, 2]) == 3\n"
STEPS: Final = (
    ("Resolving requirements", "resolve"),
    ("Installing the environment", "install"),
    ("Importing ", "import"),
    ("Testing", "test"),
    ("Build succeeded", "end"),
)
"""Lines of the log that begin a step."""


def main() -> int:
    """Run the benchmark."""
    options = parsed(options_of(__doc__, rounds=5))
    with tempfile.TemporaryDirectory() as place, serving(Path(place), {}) as server:
        author = BuildAuthor(server.api, server.key)
        author.create("Sums")
        project = _cloned(server, Path(place))
        runs = [_timed(author, project, number) for number in range(options.rounds + 1)]
    first, *others = runs
    results = [{"what": "first build", **_rounded(first)}]
    if others:
        median = {name: statistics.median(run[name] for run in others) for name in first}
        results.append({"what": "source changed", **_rounded(median)})
    return show(results, options)


def _cloned(server: Server, place: Path) -> Path:
    project = place / "Sums"
    key = server.key.replace("/", "%2F")
    url = server.api.replace("://", f"://admin:{key}@") + "/git/admin/Sums.git"
    subprocess.run(["git", "clone", "--quiet", url, str(project)], check=True)
    (project / "requirements.txt").write_text("numpy\nscikit-learn\n")
    (project / "src" / "Sums_test.py").write_text(TEST)
    return project


def _timed(author: BuildAuthor, project: Path, number: int) -> dict[str, float]:
    """Push another source, and time every step until it answers."""
    (project / "src" / "Sums.py").write_text(SOURCE.format(number=number))
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    names |= {name.replace("AUTHOR", "COMMITTER"): text for name, text in names.items()}
    for command in (("add", "--all"), ("commit", "--quiet", "--message", f"Change {number}")):
        subprocess.run(["git", *command], cwd=project, check=True, env={**os.environ, **names})
    began = time.monotonic()
    push = ("git", "push", "--quiet", "--push-option", "no-wait")
    subprocess.run(push, cwd=project, check=True, capture_output=True)
    times = {"push": time.monotonic() - began}
    build = author.told("GET", author.path("Sums", "/builds"))["results"][0]
    at, step = time.monotonic(), "begin"
    for event, _, data in author.events("Sums", build["build_id"]):
        for line in data.splitlines() if event == "log" else ():
            for beginning, name in STEPS:
                if line.startswith(beginning):
                    now = time.monotonic()
                    times[step], at, step = now - at, now, name
    assert author.call(f"Sums/{build['commit_sha']}", [1, 2]) == 3
    now = time.monotonic()
    return {**times, "call": now - at, "total": now - began}


def _rounded(times: dict[str, float]) -> dict[str, Any]:
    return {f"{name}_s": round(seconds, 2) for name, seconds in times.items()}


if __name__ == "__main__":
    sys.exit(main())
