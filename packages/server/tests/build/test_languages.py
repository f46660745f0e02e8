"""What a project is written in, and where it begins."""

import pytest

from algorium_server.build.confined import BuildFailed
from algorium_server.build.languages import (
    brings_own_kit,
    check_language,
    find_entry,
    has_tests,
    name_in_conf,
    warnings,
    why_not,
)
from algorium_server.domain.languages import Language


def test_python_needs_nothing_of_the_host():
    assert check_language("python3") is Language.PYTHON
    assert why_not(Language.PYTHON) == ""


@pytest.mark.parametrize("language", ["", "python2", "scala-2", "csharp-dotnet-core2", "rusty"])
def test_other_languages_are_refused_by_name(language):
    with pytest.raises(BuildFailed, match=f"{language!r} cannot be built, only those in python"):
        check_language(language)


@pytest.mark.parametrize(
    ("conf", "name"),
    [
        (b'{"algoname": "Hello", "username": "demo", "langauge": "python3"}', "Hello"),
        (b'\xef\xbb\xbf{"algoname": "Hello"}', "Hello"),
        (b'{"username": "demo"}', None),
        (b'{"algoname": 5}', None),
        (b'{"algoname": "../etc"}', None),
        (b"{}", None),
    ],
)
def test_only_the_name_is_read_from_algorithmia_conf(conf, name):
    assert name_in_conf(conf) == name


@pytest.mark.parametrize("conf", [b"", b"[]", b"{'algoname': 1}", b"\xff", b"[" * 100_000])
def test_a_conf_that_is_no_object_fails_the_build(conf):
    with pytest.raises(BuildFailed, match=r"algorithmia\.conf"):
        name_in_conf(conf)


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        (["src/Hello.py", "src/Algorithm.py", "src/other.py"], "src.Hello"),
        (["src/Algorithm.py", "src/other.py"], "src.Algorithm"),
        (["src/other.py", "src/__init__.py", "src/other_test.py", "src/conftest.py"], "src.other"),
        (["src/only.py", "src/sub/more.py", "src/data.json", "setup.py"], "src.only"),
    ],
)
def test_the_entry_is_looked_for_in_three_places(files, entry):
    assert find_entry(files, "Hello") == entry


@pytest.mark.parametrize(
    "files", [[], ["Hello.py"], ["src/__init__.py", "src/test_a.py"], ["src/a.py", "src/b.py"]]
)
def test_without_an_entry_all_candidates_are_named(files):
    with pytest.raises(BuildFailed, match=r"src/Hello\.py, src/Algorithm\.py, or a single module"):
        find_entry(files, "Hello")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("src/Hello_test.py", True),
        ("src/deep/test_more.py", True),
        ("src/Hello.py", False),
        ("test_top.py", False),
        ("src/test_data.json", False),
    ],
)
def test_tests_are_those_below_src_that_pytest_finds(path, found):
    assert has_tests([path]) is found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"src/Hello.py": "def apply(input): return input"}, False),
        ({"src/Hello.py": "from .kit import ADK", "kit.py": "PIPE_INIT_COMPLETE"}, False),
        ({"src/Hello.py": "", "kit.py": "print('PIPE_INIT_COMPLETE')\nF = '/tmp/algoout'"}, True),
        ({"src/Hello.py": "", "kit.txt": "PIPE_INIT_COMPLETE /tmp/algoout"}, False),
    ],
)
def test_a_copy_of_the_development_kit_is_noticed(tmp_path, files, found):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert brings_own_kit(tmp_path, files) is found


def test_the_adk_without_the_client_is_worth_a_warning():
    assert "algorithmia" in warnings("algorithmia-adk==1.2.4\nnumpy")[0]
    assert warnings("algorithmia_adk>=1\nalgorithmia>=1.0.0,<2.0") == []
    assert warnings("") == []
