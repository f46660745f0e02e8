"""The tests of the project in the working directory, here and on a server."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from algorium._cli.git import Git
from algorium._cli.local import Bench
from algorium._cli.program import Failed, Server, connect, note, write_json, write_line
from algorium._cli.projects import Project, project_here
from algorium._errors import AlgorithmError
from algorium._local.cases import FILE, Called, Case, CasesError, Verdict, judge, parse_cases
from algorium._local.environment import Environment
from algorium._local.source import NotHere, Source, has_tests
from algorium._local.worker import Failure

_TIMEOUT_S: Final = 300.0
_NO_TESTS_COLLECTED: Final = 5
_CONFIGURATION: Final = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_RUN_TESTS: Final = """\
import sys
sys.path[:] = [path for path in sys.path if path] + [path for path in sys.argv[1:3] if path]
import pytest
sys.exit(pytest.main(sys.argv[3:]))
"""
"""As the build runs it: the algorithm's own packages come first, then the test tools."""


def test_here(bench: Bench, pytest_arguments: Sequence[str], *, as_json: bool) -> None:
    """
    Run tests and cases on this machine.

    Raises:
        Failed: One did not pass, or nothing can be run.
    """
    source = bench.source()
    cases = _cases(source.root)
    environment = bench.environment(source)
    tests = "none"
    if has_tests(source.root):
        code = _pytest(bench, source, environment, pytest_arguments, as_json=as_json)
        tests = "passed" if code == 0 else "none" if code == _NO_TESTS_COLLECTED else "failed"
    verdicts: list[Verdict] = []
    if cases:
        worker = bench.worker(source, environment)
        try:
            worker.load()

            def call(case: Case) -> Called:
                outcome = worker.call(*_as_input(case.input), timeout_s=_TIMEOUT_S)
                if isinstance(outcome, Failure):
                    return Called(error=f"{outcome.error_type}: {outcome.message}")
                return Called(result=_comparable(outcome.value))

            verdicts = _run(cases, call, is_quiet=as_json)
        finally:
            worker.close()
    _conclude(str(source.ref), tests, verdicts, as_json=as_json)


def test_there(server: Server | None, *, target: str, as_json: bool) -> None:
    """
    Run the cases against a version on the server.

    Raises:
        Failed: One did not pass, or there are none.
    """
    project = project_here(server)
    cases = _cases(project.root)
    if not cases:
        raise Failed(
            f"there are no cases in {FILE}", hint="docs/guides/develop-locally.md shows the file."
        )
    ref = f"{project.ref.owner}/{project.ref.name}/{target or _commit(project, server)}"
    with connect(server) as client:
        handle = client.algo(ref)

        def call(case: Case) -> Called:
            try:
                return Called(result=_comparable(handle.pipe(case.input).result))
            except AlgorithmError as error:
                return Called(error=f"{error.error_type}: {error.message}")

        verdicts = _run(cases, call, is_quiet=as_json)
    _conclude(ref, "none", verdicts, as_json=as_json)


def _commit(project: Project, server: Server | None) -> str:
    git = Git(directory=project.root, connection=(server or Server()).connection())
    if not git.knows("rev-parse", "--verify", "--quiet", "HEAD"):
        raise Failed("nothing is committed here", hint="Run `algo push`, or name a --target.")
    if not git.knows("diff", "--quiet", "HEAD"):
        note("warning: there are changes that are not pushed, and so not tested")
    return git.ask("rev-parse", "HEAD")


def _cases(root: Path) -> list[Case]:
    try:
        return parse_cases((root / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (CasesError, UnicodeDecodeError) as error:
        told = str(error) if isinstance(error, CasesError) else f"{FILE} is not UTF-8: {error}"
        raise Failed(told, hint="docs/guides/develop-locally.md shows the file.") from error


def _pytest(
    bench: Bench,
    source: Source,
    environment: Environment,
    arguments: Sequence[str],
    *,
    as_json: bool,
) -> int:
    try:
        tools = bench.installation(source).provide_test_tools(environment)
    except NotHere as error:
        raise Failed(str(error), hint=error.hint) from error
    root = source.root
    words = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", "--confcutdir", "."]
    if not any((root / name).exists() for name in _CONFIGURATION):
        words += ["-c", os.devnull]  # else pytest looks for one in the directories above
    # Paths among the author's arguments are instead of ours; pytest itself tells them from options.
    names_tests = any((root / each.partition("::")[0]).exists() for each in arguments)
    words += [*arguments, *([] if names_tests else ["src"])]
    start = [str(environment.python), "-u", "-c", _RUN_TESTS, str(root), str(tools or "")]
    sys.stdout.flush()
    done = subprocess.run(
        [*start, *words],
        cwd=root,
        env=bench.process_variables(source, environment),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if as_json else None,
    )
    return done.returncode


def _run(cases: Iterable[Case], call: Callable[[Case], Called], *, is_quiet: bool) -> list[Verdict]:
    verdicts = []
    for case in cases:
        began_at = time.monotonic()
        verdict = judge(case, call(case), took_s=time.monotonic() - began_at)
        verdicts.append(verdict)
        if not is_quiet:
            write_line(f"{'passed' if verdict.passed else 'FAILED'}  {case.name}")
            if not verdict.passed:
                write_line(f"        {verdict.reason}")
            sys.stdout.flush()
    return verdicts


def _conclude(ref: str, tests: str, verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    failed = [each for each in verdicts if not each.passed]
    if as_json:
        write_json(
            {
                "algorithm": ref,
                "tests": tests,
                "passed": tests != "failed" and not failed,
                "cases": [_as_json(each) for each in verdicts],
            }
        )
    elif verdicts:
        write_line(f"{len(verdicts) - len(failed)} of {len(verdicts)} cases passed")
    elif tests == "none":
        note(f"there are neither tests below src nor cases in {FILE}")
    if tests == "failed" or failed:
        raise Failed("the tests failed", hint="What is said above tells which, and why.")


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.case.name,
        "type": verdict.case.type,
        "passed": verdict.passed,
        "reason": verdict.reason or None,
        "took_s": round(verdict.took_s, 6),
    }


def _as_input(value: Any) -> tuple[str, bytes]:
    """Return an input as clients send it: texts as text, all else as JSON."""
    if isinstance(value, str):
        return "text", value.encode()
    return "json", json.dumps(value, ensure_ascii=False).encode()


def _comparable(value: Any) -> Any:
    """Return a result as JSON could hold it: bytes as what an envelope has for them."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
