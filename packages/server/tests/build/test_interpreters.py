"""Which Python a project gets."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.build.confined import BuildFailed
from algorium_server.build.interpreters import (
    Interpreter,
    Interpreters,
    find_interpreters,
    known_interpreters,
    wished_minor,
)


def python(version):
    return Interpreter(
        executable=Path(f"/opt/{version}/bin/python"),
        identity=version,
        version=version,
        prefix=Path(f"/opt/{version}"),
    )


HERE = Interpreters(python("3.11.7"), [python("3.13.0"), python("3.9.18")])


@pytest.mark.parametrize(
    ("wish", "minor"),
    [
        ("python39", (3, 9)),
        ("python310", (3, 10)),
        ("python-3.8", (3, 8)),
        ("Python 3.8", (3, 8)),
        ("python3.7", (3, 7)),
        ("tensorflow-python38", (3, 8)),
        *((each, None) for each in ("python3", "python3-1", "python-3.x-1", "cpu", "", "r36")),
    ],
)
def test_names_of_environments_and_sets_tell_the_version(wish, minor):
    assert wished_minor(wish) == minor


@given(st.text(max_size=40))
def test_any_text_is_a_wish_or_none(text):
    minor = wished_minor(text)

    assert minor is None or minor[0] == 3


def test_without_a_word_it_is_the_servers_own():
    assert HERE.choose() == (HERE.own, "")


def test_a_wish_is_granted():
    assert HERE.choose(wish="python39")[0].version == "3.9.18"


def test_a_wish_that_cannot_be_granted_gets_the_servers_own_and_a_word():
    chosen, warning = HERE.choose(wish="Python 3.8")

    assert chosen == HERE.own
    assert warning.startswith("Python 3.8 was asked for; this server has 3.13.0, 3.11.7, 3.9.18")


def test_a_version_that_does_not_exist_fails_and_names_those_that_do():
    with pytest.raises(BuildFailed, match=r"no Python 3\.99 .* only 3\.13\.0, 3\.11\.7, 3\.9\.18"):
        HERE.choose(wish="python399")


def test_a_demand_prefers_the_servers_own_then_the_newest():
    assert HERE.choose(demand=">=3.9")[0].version == "3.11.7"
    assert HERE.choose(demand=">=3.12")[0].version == "3.13.0"
    assert HERE.choose(demand="==3.9.*", wish="python313")[0].version == "3.9.18"


def test_a_demand_that_nothing_meets_fails():
    with pytest.raises(BuildFailed, match=r"requires Python <3\.9, and this server has"):
        HERE.choose(demand="<3.9")
    with pytest.raises(BuildFailed, match="not a version specifier"):
        HERE.choose(demand="newest")


def test_only_interpreters_that_run_are_found(tmp_path):
    broken, fake = tmp_path / "python3.12", tmp_path / "python3.10"
    for path, text in ((broken, "exit 1"), (fake, "echo '{}'")):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    paths = [str(path) for path in (broken, fake, tmp_path / "none", link)]
    (found,) = find_interpreters(paths)

    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.prefix == Path(sys.base_prefix).resolve()
    assert found.executable == Path(os.path.realpath(sys.executable))


def test_this_host_has_the_servers_own_at_least():
    found = known_interpreters()

    assert sys.version_info[:2] in [each.minor for each in found]
    assert [each.minor for each in found] == sorted({each.minor for each in found}, reverse=True)
