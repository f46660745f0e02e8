"""What of a build can be imported ahead, and what the author reads about it."""

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from algorium_server.build import fast_start
from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.fast_start import FastStarts
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus, FastStart

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True)"
THREAD += ".start()\n"


class Site:
    def __init__(self, home, jobs):
        self.jobs = jobs
        self.home = home
        self.repositories = Repositories(home / "repos")
        self.environments = Environments(home / "envs", inherited=NOWHERE)
        self.builder = Builder(
            repositories=self.repositories,
            environments=self.environments,
            builds_dir=home / "builds",
            run_confined=jobs,
        )

    def build(self, source, requirements=""):
        return asyncio.run(self._build(source, requirements))

    async def _build(self, source, requirements):
        algorithm = Algorithm(
            algorithm_id=str(uuid.uuid4()), owner_id="owner", name="Hello", created_at=NOW
        )
        await self.repositories.create("owner", algorithm.algorithm_id)
        files = {"src/Hello.py": source.encode(), "requirements.txt": requirements.encode()}
        sha = await self.repositories.commit(
            "owner",
            algorithm.algorithm_id,
            files,
            author=Signature(name="Jane", email="", at=NOW),
            message="Begin",
        )
        build = Build(
            build_id=str(uuid.uuid4()),
            algorithm_id=algorithm.algorithm_id,
            commit_sha=sha,
            status=BuildStatus.IN_PROGRESS,
            started_at=NOW,
        )
        return await self.builder.build(build, algorithm=algorithm)

    def examinations(self):
        return sum("--examine" in job.argv for job in self.jobs.jobs)


@pytest.fixture
def site(tmp_path, jobs):
    return Site(tmp_path, jobs)


def source(*modules):
    return "".join(f"import {module}\n" for module in modules) + "def apply(input): return 1\n"


def told(build) -> str:
    (line,) = (line for line in build.log.splitlines() if line.startswith("Fast start: "))
    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert line == f"Fast start: {build.fast_start.reason}"
    return line


def test_a_project_without_packages_has_nothing_to_preload(site):
    build = site.build(source("json"))

    assert told(build) == "Fast start: yes, nothing to preload"
    assert build.fast_start == FastStart(
        is_possible=True, modules=(), reason="yes, nothing to preload"
    )
    assert site.examinations() == 0


def test_all_that_came_with_the_entry_is_preloaded(site, index):
    index.add_wheel("base", "1.0", "")
    index.add_wheel("user", "1.0", "import base", requires=["base"])
    index.add_wheel("unused", "1.0", "")

    build = site.build(source("user"), index.lines + "user\nunused\n")

    assert told(build) == "Fast start: yes, 2 modules preloaded"
    assert build.fast_start.modules == ("base", "user")


def test_what_spoils_a_process_is_left_out_with_the_reason(site, index):
    index.add_wheel("threads", "1.0", THREAD)
    index.add_wheel("wrapper", "1.0", "import threads", requires=["threads"])
    index.add_wheel("sockets", "1.0", "import socket\nS = socket.socket()")
    index.add_wheel("plain", "1.0", "")

    build = site.build(
        source("wrapper", "sockets", "plain"), index.lines + "wrapper\nsockets\nplain\n"
    )

    assert told(build) == (
        "Fast start: yes, 1 modules preloaded; without sockets (keeps a socket open when imported),"
        " threads (opens threads when imported), wrapper (opens threads when imported)"
    )
    assert build.fast_start.modules == ("plain",)


def test_packages_known_not_to_survive_are_not_even_imported(site, index):
    index.add_wheel("grpc", "1.0", "import os\nif 'HOME_OF_TEST' in os.environ: os._exit(9)")
    index.add_wheel("cloud", "1.0", "import grpc", requires=["grpc"])

    build = site.build(source("cloud"), index.lines + "cloud\n")

    assert build.fast_start.is_possible
    assert build.fast_start.modules == ()
    assert "grpc (does not survive a fork when imported)" in told(build)


def test_a_module_that_cannot_be_imported_ahead_is_no_failure(site, index):
    index.add_wheel("needy", "1.0", "import sys\nsys.modules['src.Hello']\n")

    build = site.build(source("needy"), index.lines + "needy\n")

    assert told(build) == (
        "Fast start: yes, nothing to preload;"
        " without needy (cannot be imported alone: KeyError when imported)"
    )


def test_a_module_that_ends_the_process_only_costs_the_fast_start(site, index):
    index.add_wheel("leaver", "1.0", "import os, sys\nif 'src' not in sys.modules: os._exit(5)")

    build = site.build(source("leaver"), index.lines + "leaver\n")

    assert told(build) == "Fast start: no: the modules cannot be imported ahead (code 5)"
    assert build.fast_start.modules == ()


def test_a_module_that_hangs_only_costs_the_fast_start(site, index, monkeypatch):
    monkeypatch.setattr(fast_start, "PRELOAD_EXAMINE_S", 0.5)
    index.add_wheel(
        "waiter", "1.0", "import sys, time\nif 'src' not in sys.modules: time.sleep(60)"
    )

    build = site.build(source("waiter"), index.lines + "waiter\n")

    assert told(build) == "Fast start: no: importing the modules ahead takes too long"


def test_too_much_memory_only_costs_the_fast_start(site, index, monkeypatch):
    monkeypatch.setattr(fast_start, "ZYGOTE_MEMORY_BYTES", 32 << 20)
    index.add_wheel("giant", "1.0", "DATA = [bytearray(1 << 20) for _ in range(64)]")

    build = site.build(source("giant"), index.lines + "giant\n")

    assert told(build).startswith("Fast start: no: the modules take ")


def test_after_many_faults_the_search_is_given_up(site, index, monkeypatch):
    monkeypatch.setattr(fast_start, "PRELOAD_EXAMINATIONS_MAX", 2)
    for name in ("one", "two", "three"):
        index.add_wheel(name, "1.0", THREAD)

    build = site.build(source("one", "two", "three"), index.lines + "one\ntwo\nthree\n")

    assert told(build) == "Fast start: no: 2 modules and more do not survive a fork"


def test_the_same_modules_of_an_environment_are_examined_once(site, index):
    index.add_wheel("base", "1.0", "")
    index.add_wheel("other", "1.0", "")
    requirements = index.lines + "base\nother\n"

    first = site.build(source("base"), requirements)
    assert site.examinations() == 1
    second = site.build(source("base") + "# another version\n", requirements)
    assert site.examinations() == 1
    third = site.build(source("base", "other"), requirements)

    assert site.examinations() == 2
    assert first.environment == second.environment == third.environment
    assert first.fast_start == second.fast_start
    assert third.fast_start.modules == ("base", "other")
    asyncio.run(site.builder.sweep([]))
    assert len(list((site.home / "envs" / ".fast-start").iterdir())) == 2


@pytest.mark.parametrize(
    "trick",
    [
        "os.symlink('/etc/passwd', place)",
        "os.mkfifo(place)",
        "os.mkdir(place)",
        "open(place, 'w').write('[\"os; import this\"]')",
        "open(place, 'w').write(json.dumps(['a' * 10_000]))",
        "open(place, 'w').write(json.dumps([f'm{n}' for n in range(10_000)]))",
        "open(place, 'w').write('x' * (2 << 20))",
        "open(place, 'w').write('{')",
    ],
)
def test_a_list_that_an_author_forged_names_nothing(site, trick):
    code = f"""
import json, os
from algorium_runtime import preloading

def write(place, names):
    {trick}

preloading.write = write

def apply(input): return 1
"""
    build = site.build(code)

    assert told(build) == "Fast start: no: it cannot be told which modules were imported"
    assert build.fast_start == FastStart(reason=build.fast_start.reason)


@pytest.mark.parametrize(
    "answer",
    [
        '{"names": ["evil"], "left_out": [], "fault": null, "memory_bytes": 1}',
        '{"names": [], "left_out": [["base", "<b>bold\\\\nnew line</b>"]], "fault": null,'
        ' "memory_bytes": 1}',
    ],
)
def test_an_answer_that_a_package_forged_names_nothing_that_was_not_there(site, index, answer):
    forger = f"""
from algorium_runtime import preloading
preloading.write = lambda path, _: open(path, "w").write({answer!r})
"""
    index.add_wheel("base", "1.0", forger)

    build = site.build(
        source("base").replace("import", "import sys;import", 1), index.lines + "base"
    )

    assert build.fast_start.modules == ()
    assert "<b>" not in build.log


def test_what_is_remembered_survives_only_as_long_as_it_can_be_read(tmp_path, jobs):
    directory = tmp_path / "remembered"
    directory.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "modules.json").write_text("[]")
    starts = FastStarts(directory, runtime_dir=Path(os.devnull))
    environment = tmp_path / "environment"

    def examine():
        return asyncio.run(
            starts.examine(environment, scratch_dir=scratch, env={}, tools=None)  # nothing to run
        )

    assert examine().is_possible
    (kept,) = directory.iterdir()
    assert json.loads(kept.read_text())["is_possible"] is True
    kept.write_text("{")
    assert examine().is_possible
    assert json.loads(kept.read_text())["is_possible"] is True
