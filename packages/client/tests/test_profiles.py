import json
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium._cli.profiles import read_profiles, remove_profile, write_profile
from algorium._cli.program import Failed
from algorium._config import read_profile
from algorium._errors import ConfigurationError

VALUES = {"api_key": "simKey", "api_server": "http://127.0.0.1:1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "config"


def test_a_first_profile_makes_a_file_that_only_its_owner_reads(path: Path) -> None:
    write_profile(path, "default", VALUES)

    assert path.read_text() == (
        '[profiles.default]\napi_key = "simKey"\napi_server = "http://127.0.0.1:1"\n'
        'ca_cert = ""\nbearer_token = ""\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_everything_else_in_the_file_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(
        '# mine\ntitle = "x"\n\n[profiles.default]\napi_key = "old" # secret\nmore = "kept"\n\n'
        '# of work\n[profiles.work]\napi_key = "simWork"\n\n[other]\na = 1\n'
    )

    write_profile(path, "default", VALUES)

    text = path.read_text()
    assert text.startswith('# mine\ntitle = "x"\n\n[profiles.default]\napi_key = "simKey"\n')
    assert '# of work\n[profiles.work]\napi_key = "simWork"\n' in text
    assert tomllib.loads(text)["profiles"]["default"]["more"] == "kept"
    assert tomllib.loads(text)["other"] == {"a": 1}
    assert "old" not in text


def test_a_profile_is_removed_and_the_others_stay(path: Path) -> None:
    write_profile(path, "a", VALUES)
    write_profile(path, "b b", VALUES)

    assert remove_profile(path, "a")
    assert not remove_profile(path, "a")
    assert list(read_profiles(path)) == ["b b"]


@pytest.mark.parametrize(
    "text",
    [
        'profiles = { default = { api_key = "x" } }\n',
        'profiles.default.api_key = "x"\n',
        '[profiles]\ndefault = { api_key = "x" }\n',
        "[profiles.default]\napi_key = 1\nmore = [1]\n",
        'a = """\n[profiles.default]\n"""\n[profiles.default]\napi_key = "x"\n',
    ],
    ids=["inline", "dotted", "inline-section", "no-text", "in-a-text"],
)
def test_a_file_that_cannot_be_changed_safely_is_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(Failed):
        write_profile(path, "default", VALUES)

    assert path.read_text() == text


def test_a_broken_file_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[profiles.default\n")

    with pytest.raises(ConfigurationError):
        write_profile(path, "default", VALUES)

    assert path.read_text() == "[profiles.default\n"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    target = tmp_path / "elsewhere"
    target.write_text("")
    path.symlink_to(target)

    write_profile(path, "default", VALUES)

    assert path.is_symlink()
    assert "simKey" in target.read_text()


@given(
    name=st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable() or "\n" in t),
    value=st.text(max_size=30).filter(lambda t: t.encode("utf-8", "ignore").decode() == t),
)
def test_whatever_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: str
) -> None:
    path = tmp_path_factory.mktemp("profiles") / "config"
    write_profile(path, "before", VALUES)

    write_profile(path, name, {**VALUES, "ca_cert": value})

    expected = {"bearer_token": "", **VALUES, "ca_cert": value}
    assert read_profiles(path)[name] == expected
    assert json.dumps(read_profiles(path)["before"]) if name != "before" else True


def test_what_only_looks_like_the_end_of_a_line_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('# one\u2028comment\n[profiles.default]\nmore = "a\u0085b"\n', "utf-8")

    write_profile(path, "work", VALUES)
    write_profile(path, "default", VALUES)

    assert path.read_text("utf-8").startswith("# one\u2028comment\n")
    assert read_profiles(path)["default"]["more"] == "a\u0085b"
    assert read_profiles(path)["work"]["api_key"] == "simKey"


def test_a_file_that_an_editor_has_marked_as_utf_8_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'\xef\xbb\xbf[profiles.default]\napi_key = "simOld"\n')
    before = read_profile("default", path)
    write_profile(path, "work", VALUES)

    assert before is not None
    assert before.api_key == "simOld"
    assert set(read_profiles(path)) == {"default", "work"}
