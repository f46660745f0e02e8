import pytest

from algorium.wire.uris import DataUri
from algorium_server.data.places import Level, Place, Space, place_of


def place(uri):
    return place_of(DataUri.parse(uri))


@pytest.mark.parametrize(
    ("uri", "level"),
    [
        ("data://", Level.ROOT),
        ("data://jane", Level.OWNER),
        ("data://.my", Level.OWNER),
        ("data://jane/c", Level.COLLECTION),
        ("data://jane/c/f", Level.FILE),
        ("data://jane/c/f/g", Level.BELOW),
        ("data://.session", Level.COLLECTION),
        ("data://.session/f", Level.FILE),
        ("data://.session/f/g", Level.BELOW),
        ("data://.algo", Level.NOWHERE),
        ("data://.algo/jane", Level.NOWHERE),
        ("data://.algo/jane/Hello", Level.ALGORITHM),
        ("data://.algo/jane/Hello/other", Level.NOWHERE),
        ("data://.algo/jane/Hello/temp", Level.COLLECTION),
        ("data://.algo/jane/Hello/perm/f", Level.FILE),
        ("data://.algo/jane/Hello/perm/f/g", Level.BELOW),
        ("data://.algo/temp", Level.COLLECTION),
        ("data://.algo/default/f", Level.FILE),
    ],
)
def test_the_form_of_a_uri_tells_its_level(uri, level):
    assert place(uri).level is level


def test_a_file_of_an_account():
    assert place("data://jane/Images/cat.png") == Place(
        level=Level.FILE, owner="jane", collection="Images", file="cat.png"
    )


def test_a_file_of_an_algorithm():
    assert place("data://.algo/jane/Hello/temp/cat.png") == Place(
        level=Level.FILE, space=Space.TEMP, owner="jane", algorithm="Hello", file="cat.png"
    )


@pytest.mark.parametrize("space", [Space.TEMP, Space.PERM, Space.DEFAULT])
def test_the_short_form_leaves_the_algorithm_open(space):
    assert place(f"data://.algo/{space.value}/f") == Place(level=Level.FILE, space=space, file="f")


def test_an_owner_may_be_called_like_a_short_form():
    assert place("data://.algo/temp/Hello/perm").owner == "temp"
    assert place("data://.algo/temp/Hello").file == "Hello"


@pytest.mark.parametrize("uri", ["data://.MY/c", "data://.my/c"])
def test_special_names_count_in_any_case(uri):
    assert place(uri).is_mine
    assert place("data://.Session/f").space is Space.SESSION
    assert place("data://.ALGO/jane/Hello/Temp").space is Space.TEMP


@pytest.mark.parametrize("uri", ["data://jane/c/f", "data://.session/f", "data://jane/c/f/g"])
def test_files_and_what_is_below_are_no_directories(uri):
    assert not place(uri).is_directory
    assert place("data://jane/c").is_directory
