"""Environments are made once, from a lock, and never change again."""

import asyncio
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from algorium_server.build.confined import BuildFailed, Tools
from algorium_server.build.environments import Environments, Interpreter, environment_key
from algorium_server.build.packages import index_variables

OWNER = "6e2b0a3e-0000-4000-8000-000000000001"
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
"""Every connection fails at once: what works with this needs no network."""


class Site:
    """Environments with their tools, for one test."""

    def __init__(self, tmp_path, jobs, inherited=NOWHERE):
        self.home = tmp_path
        self.jobs = jobs
        self.said = bytearray()
        self.tools = Tools(jobs, on_output=self.said.extend, timeout_s=120)
        self.environments = Environments(tmp_path / "envs", inherited=inherited)

    def resolve(self, requirements):
        (self.home / "requirements.txt").write_text(requirements)
        return asyncio.run(
            self.environments.resolve(
                self.home / "requirements.txt", owner_id=OWNER, tools=self.tools
            )
        )

    def make(self, requirements):
        lock = self.resolve(requirements)
        key = asyncio.run(self.environments.ensure(lock, tools=self.tools))
        return self.environments.path(key)

    def names(self):
        """What lies beside the caches."""
        return [path.name for path in (self.home / "envs").iterdir() if path.name != ".cache"]

    @property
    def log(self):
        return self.said.decode()


@pytest.fixture
def site(tmp_path, jobs):
    return Site(tmp_path, jobs)


def python(environment, code):
    return subprocess.run(
        [environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("requirements", ["", "# nothing\n\n"])
def test_no_requirements_need_no_network(site, requirements):
    environment = site.make(requirements)

    assert python(environment, "import sys; print(sys.prefix)") == str(environment)
    assert site.jobs.programs() == ["uv venv"]
    assert not any(job.has_network for job in site.jobs.jobs)


def test_a_missing_requirements_file_is_an_empty_one(site, tmp_path):
    lock = asyncio.run(
        site.environments.resolve(tmp_path / "none.txt", owner_id=OWNER, tools=site.tools)
    )

    assert lock == ""


def test_the_lock_pins_everything_that_is_then_installed(site, index):
    index.add_wheel("upper", "1.0", "import lower\nSUM = lower.VALUE + 1\n", requires=["lower"])
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    lock = site.resolve(index.lines + "upper  # the one we want\n")
    environment = site.make(index.lines + "upper  # the one we want\n")

    pins = [line for line in lock.splitlines() if not line.startswith("--")]
    assert pins == ["lower==2.5", "upper==1.0"]
    assert python(environment, "import upper; print(upper.SUM)") == "42"


def test_files_beside_the_requirements_may_be_included(site, index, tmp_path):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    (tmp_path / "more.txt").write_text("lower\n")

    assert "lower==2.5" in site.resolve(index.lines + "-r more.txt\n")


def test_the_same_lock_is_the_same_environment(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    first = site.make(index.lines + "lower\n")
    runs = len(site.jobs.jobs)
    second = site.make(index.lines + "# the same in other words\nlower==2.5\n")

    assert second == first
    assert "is there already" in site.log
    assert [program for program in site.jobs.programs()[runs:] if program != "uv pip compile"] == []


def test_keys_depend_on_the_lock_and_on_the_interpreter():
    ours = Interpreter.of_this_process()
    other = Interpreter(executable=ours.executable, identity="another build")

    keys = {
        environment_key("", ours),
        environment_key("a==1", ours),
        environment_key("a==2", ours),
        environment_key("", other),
    }
    assert len(keys) == 4
    assert environment_key("a==1", ours) == environment_key("a==1", ours)


def test_nothing_in_an_environment_is_writable(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    environment = site.make(index.lines + "lower\n")

    writable = [
        path
        for path in [environment, *environment.rglob("*")]
        if not path.is_symlink()
        and path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
        if path.name != "complete"
    ]
    assert writable == []


def test_bytecode_is_made_in_advance_and_without_running_anything(site, index):
    index.add_wheel("lower", "2.5", "import os\nos.mkdir('/tmp/must-not-exist-algorium')\n")
    environment = site.make(index.lines + "lower\n")

    (compiled,) = environment.glob("lib/python*/site-packages/__pycache__/lower.*.pyc")
    assert compiled.stat().st_size > 0
    assert not Path("/tmp/must-not-exist-algorium").exists()


def test_files_are_shared_with_the_cache(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    environment = site.make(index.lines + "lower\n")

    (module,) = environment.glob("lib/python*/site-packages/lower.py")
    assert module.stat().st_nlink > 1


def test_links_into_the_cache_need_one_mount_for_both(site, index, tmp_path):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    site.make(index.lines + "lower\n")

    (install,) = [job for job in site.jobs.jobs if job.argv[1:3] == ("pip", "install")]
    assert install.writable == (tmp_path / "envs",)


def test_code_of_packages_sees_its_own_environment_and_its_owners_cache_only(site, index, tmp_path):
    index.add_source("native", "1.0")
    environment = site.make(index.lines + "native\n")
    own = tmp_path / "envs" / ".cache" / f"uv-{OWNER}"

    for job in site.jobs.jobs:
        if job.argv[1:2] == ("pip",) and ":all:" not in job.argv:
            assert job.env["UV_CACHE_DIR"] == str(own)
            assert own in job.writable
            assert all(
                path in {own, environment} or path.name.startswith(".resolve-")
                for path in job.writable
            )


def test_nothing_of_an_authors_directory_runs_beside_the_shared_cache(site, tmp_path):
    project = tmp_path / "mine"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "mine"\ndynamic = ["version"]\n'
    )
    (project / "backend.py").write_text(
        "import os\nwith open('ran', 'a') as ran: ran.write(os.environ['UV_CACHE_DIR'] + '\\n')\n"
    )
    for line in (f"-e {project}", str(project)):
        with pytest.raises(BuildFailed):
            site.resolve(f"{line}\n")

    assert {Path(line).name for line in (project / "ran").read_text().splitlines()} <= {
        f"uv-{OWNER}"
    }


def test_many_builds_at_once_make_an_environment_once(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    lock = site.resolve(index.lines + "lower\n")

    async def make_many():
        return await asyncio.gather(
            *(site.environments.ensure(lock, tools=site.tools) for _ in range(5))
        )

    assert len(set(asyncio.run(make_many()))) == 1
    assert site.jobs.programs().count("uv venv") == 1


def test_half_an_environment_is_made_anew(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    environment = site.make(index.lines + "lower\n")
    environment.chmod(0o755)
    (environment / "complete").unlink()
    (module,) = environment.glob("lib/python*/site-packages/lower.py")
    module.parent.chmod(0o755)
    module.unlink()

    assert site.make(index.lines + "lower\n") == environment
    assert python(environment, "import lower; print(lower.VALUE)") == "41"


def test_a_sweep_leaves_only_complete_environments(site, tmp_path):
    environment = site.make("")
    (tmp_path / "envs" / "half" / "lib").mkdir(parents=True)
    (tmp_path / "envs" / "half" / "lib").chmod(0o555)
    (tmp_path / "envs" / ".resolve-abc").mkdir()
    asyncio.run(site.environments.sweep())

    assert site.names() == [environment.name]
    assert (tmp_path / "envs" / ".cache").exists()


def test_what_cannot_be_resolved_fails_with_the_resolvers_words(site, index):
    index.add_wheel("upper", "1.0", "", requires=["lower>=3"])
    index.add_wheel("lower", "2.5", "")

    with pytest.raises(BuildFailed, match=r"requirements\.txt cannot be resolved"):
        site.resolve(index.lines + "upper\n")
    assert "only lower==2.5 is available" in " ".join(site.log.split())
    assert site.log.count("No solution found") == 1


def test_a_failed_installation_leaves_nothing(site, index, tmp_path):
    index.add_wheel("lower", "2.5", "")
    lock = site.resolve(index.lines + "lower\n")
    for path in index.directory.iterdir():
        path.unlink()
    shutil.rmtree(tmp_path / "envs" / ".cache")

    with pytest.raises(BuildFailed, match="cannot be installed"):
        asyncio.run(site.environments.ensure(lock, tools=site.tools))
    assert site.names() == []


def test_what_is_built_from_source_is_private_to_its_owner(site, index, tmp_path):
    index.add_source("native", "1.0")
    requirements = index.lines + "native\n"
    environment = site.make(requirements)
    shared = tmp_path / "envs" / ".cache" / "uv"

    assert python(environment, "import native; print(native.ORIGIN)") == "source"
    assert OWNER in (environment / "requirements.lock").read_text()
    assert list(shared.rglob("native*")) == []
    for job in site.jobs.jobs:
        if job.argv[1:2] == ("pip",) and job.env["UV_CACHE_DIR"] == str(shared):
            assert ":all:" in job.argv


def test_hashes_that_an_author_gives_are_checked(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    wrong = "0" * 64

    with pytest.raises(BuildFailed):
        site.make(index.lines + f"lower==2.5 --hash=sha256:{wrong}\n")


def test_the_time_for_a_build_covers_all_of_its_tools(jobs, tmp_path):
    tools = Tools(jobs, on_output=lambda _: None, timeout_s=0.2)

    async def sleep():
        await tools.run("sleep", "30", cwd=tmp_path, env={"PATH": os.defpath})

    with pytest.raises(BuildFailed, match=r"longer than 0\.2 s"):
        asyncio.run(sleep())
    with pytest.raises(BuildFailed, match=r"longer than 0\.2 s"):
        asyncio.run(sleep())
    assert len(jobs.jobs) == 1


def test_what_a_tentative_tool_says_is_bounded(tmp_path):
    said = bytearray()

    async def chatter(job, *, on_output):
        for _ in range(1000):
            on_output(b"x" * 1000)
        return 0

    tools = Tools(chatter, on_output=said.extend, timeout_s=20, said_bytes_max=10_000)
    asyncio.run(tools.run("chatter", cwd=tmp_path, env={}, is_tentative=True))

    assert len(said) < 10_100
    assert b"990000 bytes of output left out" in said


def test_uv_sees_how_to_reach_packages_and_nothing_else():
    picked = index_variables(
        {
            "HTTPS_PROXY": "http://proxy",
            "no_proxy": "localhost",
            "SSL_CERT_FILE": "/etc/ssl/cert.pem",
            "UV_INDEX": "https://a",
            "UV_INDEX_INTERNAL_PASSWORD": "secret",
            "UV_CACHE_DIR": "/elsewhere",
            "UV_PYTHON": "3.8",
            "PIP_INDEX_URL": "https://mirror/simple",
            "PIP_EXTRA_INDEX_URL": "https://ignored, because uv was told",
            "ALGORIUM_HOME": "/home",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "PATH": "/bin",
        }
    )

    assert picked == {
        "HTTPS_PROXY": "http://proxy",
        "no_proxy": "localhost",
        "SSL_CERT_FILE": "/etc/ssl/cert.pem",
        "UV_INDEX": "https://a",
        "UV_INDEX_INTERNAL_PASSWORD": "secret",
        "UV_DEFAULT_INDEX": "https://mirror/simple",
    }


def test_packages_that_a_project_brings_count_by_what_they_hold(site, index):
    """Two files of one name are not the same package, though a lock names both alike."""
    lines = "--no-index\n--find-links ./index\nlower\n"
    index.add_wheel("lower", "2.5", "VALUE = 1\n")
    first = site.resolve(lines)
    again = site.resolve(lines)
    index.add_wheel("lower", "2.5", "VALUE = 2\n")
    other = site.resolve(lines)

    assert first == again
    assert first != other
    assert "lower==2.5" in other
    for lock, value in ((first, "2"), (other, "2")):  # what lies there now is what is installed
        key = asyncio.run(site.environments.ensure(lock, tools=site.tools, read_only=(site.home,)))
        assert python(site.environments.path(key), "import lower; print(lower.VALUE)") == value
