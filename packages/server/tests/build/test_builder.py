"""A commit becomes something that can be called, or a log that says why not."""

import asyncio

import pytest
from build_site import NOW, Site

from algorium_server.build.builder import FIRST_LINE
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus
from algorium_server.domain.limits import BUILD_FAILURE_CHARS_MAX

HELLO = b"def apply(input):\n    return f'Hello {input}'\n"


@pytest.fixture
def site(tmp_path, jobs):
    return Site(tmp_path, jobs)


def test_a_project_without_requirements_is_built_without_a_network(site):
    steps = []
    build = site.build({"src/Hello.py": HELLO}, on_step=steps.append)

    assert build.status is BuildStatus.SUCCEEDED
    assert build.entry == "src.Hello"
    assert build.source_bytes == len(HELLO)
    assert build.lock == ""
    assert (site.environments.path(build.environment) / "complete").exists()
    assert (site.builder.source_dir(build.build_id) / "src/Hello.py").read_bytes() == HELLO
    assert build.log.startswith(f"{FIRST_LINE}\n")
    assert build.log.endswith("Build succeeded\n")
    assert steps == [
        f"checking out {build.commit_sha}",
        "resolving requirements",
        "installing the environment",
        "importing src.Hello",
    ]
    assert not any(job.has_network for job in site.jobs.jobs)


def test_requirements_are_installed_and_importable(site, index):
    index.add_wheel("lower", "2.5", "VALUE = 41\n")
    build = site.build(
        {
            "src/Algorithm.py": b"import lower\ndef apply(input): return lower.VALUE\n",
            "requirements.txt": (index.lines + "lower\n").encode(),
        }
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert "lower==2.5" in build.lock
    assert " + lower==2.5" in build.log


def test_the_name_in_algorithmia_conf_decides_the_entry(site):
    build = site.build(
        {
            "algorithmia.conf": b'{"algoname": "Greeter"}',
            "src/Greeter.py": HELLO,
            "src/Hello.py": b"raise SystemExit('not me')",
        }
    )

    assert build.entry == "src.Greeter"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"README.md": b""}, "no entry point"),
        ({"src/Hello.py": HELLO, "algorithmia.conf": b"{"}, "algorithmia.conf is not JSON"),
        ({"src/Hello.py": b"import nowhere_at_all\n"}, "No module named 'nowhere_at_all'"),
        ({"src/Hello.py": b"def apply(input)\n"}, "SyntaxError"),
        ({"src/Hello.py": b"x = 1\n"}, "apply"),
        ({"src/Hello.py": b"raise RuntimeError('no model')\n"}, "RuntimeError: no model"),
        ({"src/Hello.py": HELLO, "requirements.txt": b"--no-index\nnothing\n"}, "No solution"),
    ],
)
def test_a_build_fails_with_a_log_that_says_why(site, files, complaint):
    build = site.build(files)

    assert build.status is BuildStatus.FAILED
    assert complaint in build.log
    assert build.log.splitlines()[-1].startswith("Build failed: ")
    assert list((site.home / "builds").iterdir()) == []


def test_directories_that_are_called_like_files_say_nothing(site):
    names = ("algorithmia.conf", "requirements.txt", "pyproject.toml", "uv.lock", "environment.yml")
    build = site.build({"src/Hello.py": HELLO} | {f"{name}/x": b"" for name in names})

    assert build.status is BuildStatus.SUCCEEDED, build.log


def test_why_a_build_failed_is_told_shortly_and_without_passwords(site):
    line = f"x @@ https://jane:pass-word@packages.example/{'long' * 5000}"
    pyproject = f'[project]\nname = "x"\nversion = "1"\ndependencies = ["{line}"]\n'
    build = site.build({"src/Hello.py": HELLO, "pyproject.toml": pyproject.encode()})

    assert "https://***@packages.example" in build.failure
    assert "pass-word" not in build.failure + build.log
    assert len(build.failure) == BUILD_FAILURE_CHARS_MAX


def test_other_languages_fail_with_their_name(site):
    build = site.build({"src/Hello.py": HELLO}, language="python2-langpack")

    assert build.status is BuildStatus.FAILED
    assert "'python2-langpack'" in build.log


def test_a_commit_that_is_not_there_fails_the_build(site):
    async def build_nothing():
        await site.repositories.create("owner", "a")
        build = Build(
            build_id="b",
            algorithm_id="a",
            commit_sha="0" * 40,
            status=BuildStatus.IN_PROGRESS,
            started_at=NOW,
        )
        algorithm = Algorithm(algorithm_id="a", owner_id="owner", name="Hello", created_at=NOW)
        return await site.builder.build(build, algorithm=algorithm)

    build = asyncio.run(build_nothing())

    assert build.status is BuildStatus.FAILED
    assert "there is no commit" in build.log


def test_a_build_that_takes_too_long_is_stopped(tmp_path, jobs):
    site = Site(tmp_path, jobs, timeout_s=3)
    build = site.build({"src/Hello.py": b"import time\nprint('began')\ntime.sleep(600)\n"})

    assert build.status is BuildStatus.FAILED
    assert "began" in build.log
    assert "longer than 3 s" in build.log


def test_a_log_keeps_its_beginning_and_its_end(tmp_path, jobs):
    site = Site(tmp_path, jobs, log_bytes_max=2000)
    build = site.build({"src/Hello.py": b"print('line\\n' * 100_000)\n" + HELLO})

    assert build.status is BuildStatus.SUCCEEDED
    assert len(build.log) < 2100
    assert build.log.startswith(FIRST_LINE)
    assert "bytes of output left out" in build.log
    assert build.log.endswith("Build succeeded\n")


def test_passwords_in_urls_and_nul_do_not_reach_the_log(site):
    source = b"print('https://user:s3cret@index.example.org/simple a\\0b')\n" + HELLO
    build = site.build({"src/Hello.py": source})

    assert "s3cret" not in build.log
    assert "https://***@index.example.org/simple" in build.log
    assert "\0" not in build.log


def test_the_authors_code_cannot_change_its_source_or_environment(site):
    source = b"open('src/Hello.py', 'a').write('# changed')\nopen('new', 'w')\n" + HELLO
    build = site.build({"src/Hello.py": source})
    directory = site.builder.source_dir(build.build_id)

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert (directory / "src/Hello.py").read_bytes() == source
    assert not (directory / "new").exists()
    for job in site.jobs.jobs:
        if "--check" in job.argv:
            assert directory not in job.writable
            assert site.environments.path(build.environment) not in job.writable


def test_without_pytest_the_build_goes_on_and_says_so(site):
    build = site.build({"src/Hello.py": HELLO, "src/Hello_test.py": b"def test(): assert False\n"})

    assert build.status is BuildStatus.SUCCEEDED
    assert "the tests were not run, because pytest cannot be installed" in build.log


def test_a_sweep_removes_what_no_build_owns(site):
    build = site.build({"src/Hello.py": HELLO})
    for name in ("killed", f"{build.build_id}.work"):
        (site.home / "builds" / name).mkdir()
    asyncio.run(site.builder.sweep([build.build_id]))

    assert [path.name for path in (site.home / "builds").iterdir()] == [build.build_id]
    assert site.environments.path(build.environment).exists()


@pytest.fixture(scope="session")
def online_home(tmp_path_factory):
    """One home for all builds that need pytest, so that it is fetched once."""
    return tmp_path_factory.mktemp("online")


@pytest.fixture
def online(online_home, jobs):
    return Site(online_home, jobs, inherited=None)


@pytest.mark.network
@pytest.mark.parametrize(
    ("test", "status", "said"),
    [
        (
            b"from .Hello import apply\ndef test(): assert apply('x') == 'Hello x'\n",
            "succeeded",
            "1 passed",
        ),
        (
            b"from src.Hello import apply\ndef test(): assert apply('x') == 'x'\n",
            "failed",
            "1 failed",
        ),
        (b"import nowhere_at_all\n", "failed", "nowhere_at_all"),
        (b"# nothing to collect\n", "succeeded", "no tests ran"),
        (b"def test(): open('written', 'w').write('fine')\n", "succeeded", "1 passed"),
    ],
    ids=["pass", "fail", "do not load", "are none", "write files"],
)
def test_the_authors_tests_decide(online, test, status, said):
    files = {"src/__init__.py": b"", "src/Hello.py": HELLO, "src/Hello_test.py": test}
    build = online.build(files)

    assert build.status == status, build.log
    assert said in build.log
    assert not (online.builder.source_dir(build.build_id) / "written").exists()


@pytest.mark.network
def test_tests_may_lie_in_a_namespace_package_and_have_their_own_configuration(online):
    build = online.build(
        {
            "pytest.ini": b"[pytest]\npython_functions = check_*\n",
            "src/Hello.py": HELLO,
            "src/Hello_test.py": b"from src.Hello import apply\ndef check_it(): assert apply(1)\n",
        }
    )

    assert build.status is BuildStatus.SUCCEEDED, build.log
    assert "1 passed" in build.log
