"""The tree of errors, its drawing and the table of codes say the same."""

import inspect
import re

import pytest

from algorium.wire.codes import BY_NUMBER
from algorium_server.domain import errors
from algorium_server.domain.errors import AlgoriumError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, AlgoriumError) and value is not AlgoriumError
]

_BRANCH = re.compile(r"^ {4}([│ ]*)[├└]── (\w+) +(\d{3})(?: +(\d{4}|-))?", re.MULTILINE)


def drawn():
    """The tree in the module's docstring: name -> (depth, status, code or None)."""
    rows = {}
    for indent, name, status, code in _BRANCH.findall(errors.__doc__):
        rows[name] = (1 + len(indent) // 4, int(status), int(code) if code.isdigit() else None)
    return rows


def depth(error_class):
    return error_class.__mro__.index(AlgoriumError)


def test_the_drawing_shows_every_class_at_its_depth_with_its_status():
    expected = {c.__name__: (depth(c), c.status) for c in CLASSES}

    assert {name: row[:2] for name, row in drawn().items()} == expected


@pytest.mark.parametrize("error_class", CLASSES)
def test_the_drawing_shows_the_code_of_a_class_unless_it_is_inherited(error_class):
    shown = drawn()[error_class.__name__][2]

    assert shown in {error_class.code, None}
    assert shown is not None or "code" not in vars(error_class)


@pytest.mark.parametrize("error_class", CLASSES)
def test_the_code_of_a_class_is_in_the_table(error_class):
    assert error_class.code is None or error_class.code in BY_NUMBER


@pytest.mark.parametrize("error_class", CLASSES)
def test_a_class_answers_with_the_status_of_its_code_or_a_nearer_one(error_class):
    # 405, 408, 413, 415 and 503 have no code of their own and borrow the nearest.
    if error_class.code is None or error_class.status in {405, 408, 413, 415, 503}:
        return
    # Asked for, what is missing is a 404; named in a body, it makes the request wrong.
    if error_class in {errors.UnknownScm, errors.ScmNeedsConnecting}:
        assert error_class.status == 400
        return

    assert error_class.status == BY_NUMBER[error_class.code].status


@pytest.mark.parametrize("error_class", [AlgoriumError, *CLASSES])
def test_an_error_always_says_something(error_class):
    error = error_class()

    assert error.message
    assert str(error) == error.message
    assert error.fields == {}


@pytest.mark.parametrize(
    ("error_class", "message"),
    [
        (errors.NotAuthorized, "Caller is not authorized to perform the operation"),
        (errors.PathNotFound, "path not found"),
        (errors.TooManyRequests, "Too many requests: concurrent session limit reached"),
        (errors.InternalError, "There was an internal error."),
    ],
)
def test_the_texts_that_old_clients_compare(error_class, message):
    assert error_class().message == message


def test_an_error_carries_its_data():
    error = errors.PartlyDeleted("3 left", hint="try again", detail="disk", fields={"deleted": 4})

    assert (error.message, error.hint, error.detail) == ("3 left", "try again", "disk")
    assert error.fields == {"deleted": 4}
