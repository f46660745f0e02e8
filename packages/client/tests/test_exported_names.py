import ast
import importlib
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import algorium
from algorium import _errors
from algorium.wire.bodies import ErrorBody
from algorium.wire.codes import CODES, ERROR_TYPES


def test_the_list_of_public_names_is_sorted_and_true() -> None:
    assert algorium.__all__ == sorted(algorium.__all__)
    for name in algorium.__all__:
        assert getattr(algorium, name).__name__ == name
        assert getattr(algorium, name).__doc__
    assert set(algorium.__all__) <= set(dir(algorium))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(str(algorium.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("algorium.")
        for alias in node.names
    }

    assert seen == set(algorium.__all__)


@pytest.mark.parametrize(
    ("blocking", "asyncio"),
    [
        (algorium.Algorium, algorium.AsyncAlgorium),
        (algorium.AlgorithmHandle, algorium.AsyncAlgorithmHandle),
        (algorium.Algorithms, algorium.AsyncAlgorithms),
        (algorium.ManagedAlgorithm, algorium.AsyncManagedAlgorithm),
        (algorium.Environments, algorium.AsyncEnvironments),
        (algorium.Secrets, algorium.AsyncSecrets),
        (algorium.Users, algorium.AsyncUsers),
        (algorium.Organizations, algorium.AsyncOrganizations),
        (algorium.Keys, algorium.AsyncKeys),
        (algorium.Scms, algorium.AsyncScms),
        (algorium.Admin, algorium.AsyncAdmin),
        (algorium.Sessions, algorium.AsyncSessions),
        (algorium.Notifications, algorium.AsyncNotifications),
        (algorium.EventListeners, algorium.AsyncEventListeners),
        (algorium.PackageSources, algorium.AsyncPackageSources),
        (algorium.SecretProviders, algorium.AsyncSecretProviders),
        (algorium.Registries, algorium.AsyncRegistries),
        (algorium.Reservations, algorium.AsyncReservations),
        (algorium.Reports, algorium.AsyncReports),
        (algorium.Connectors, algorium.AsyncConnectors),
        (algorium.DataDirectory, algorium.AsyncDataDirectory),
        (algorium.DataFile, algorium.AsyncDataFile),
    ],
)
def test_both_clients_have_the_same_shape(blocking: Any, asyncio: Any) -> None:
    def shape(cls: Any) -> dict[str, list[tuple[str, Any, Any]]]:
        return {
            name.removeprefix("a") if name == "aclose" else name: [
                (p.name, p.kind, p.default) for p in inspect.signature(value).parameters.values()
            ]
            for name, value in inspect.getmembers(cls, callable)
            if not name.startswith("_")
        }

    assert shape(blocking) == shape(asyncio)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Algorithmia"):
        _ = algorium.Algorithmia  # type: ignore[attr-defined]  # the point
    with pytest.raises(ImportError):
        importlib.import_module("algorium.nothing")


def subclasses(cls: type[Any]) -> set[type[Any]]:
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_exception_is_public_and_drawn_in_the_tree() -> None:
    for cls in subclasses(algorium.AlgoriumError):
        assert cls.__name__ in algorium.__all__
        assert cls.__name__ in str(_errors.__doc__)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_every_code_has_a_class_of_its_status(code: Any) -> None:
    body = ErrorBody(message="no", code=code.number)

    error = _errors.api_error(body, status=code.status)

    assert (error.code, error.code_name, error.status) == (code.number, code.name, code.status)
    expected = {
        400: (algorium.InvalidInput, algorium.InvalidRequest, algorium.MalformedJson),
        401: algorium.NotAuthenticated,
        403: algorium.NotAuthorized,
        404: algorium.NotFound,
        409: (algorium.AlreadyExists, algorium.CallUnderWay, algorium.CallOutcomeUnknown),
        422: algorium.IdempotencyKeyReused,
        500: algorium.InternalError,
        501: algorium.FeatureNotImplemented,
    }[code.status]
    assert isinstance(error, expected)


def test_every_class_of_a_code_is_in_the_table() -> None:
    numbers = {code.number for code in CODES}
    types = {row.name for row in ERROR_TYPES}

    for cls in subclasses(algorium.ApiError):
        assert cls.code is None or cls.code in numbers
    assert {cls.error_type for cls in subclasses(algorium.AlgorithmError)} == types


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (413, 6001, algorium.TooLarge),
        (415, 2015, algorium.UnsupportedContentType),
        (405, 2015, algorium.MethodNotAllowed),
        (503, 5001, algorium.Unavailable),
        (404, None, algorium.NotFound),
        (404, 1000, algorium.AlgorithmNotFound),
        (400, 4008, algorium.InvalidRequest),
        (402, None, algorium.InvalidRequest),
        (500, None, algorium.InternalError),
        (599, 99999, algorium.InternalError),
    ],
)
def test_the_more_special_of_status_and_code_decides(
    status: int, code: int | None, expected: type[Exception]
) -> None:
    error = _errors.api_error(ErrorBody(message="no", code=code), status=status)

    assert type(error) is expected


def test_exceptions_survive_pickling() -> None:
    error = algorium.AlgorithmNotFound(
        "not found", status=404, code=1000, hint="look again", request_id="req-1"
    )

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is algorium.AlgorithmNotFound
    assert vars(copy) == vars(error)
    assert str(copy) == "not found"
