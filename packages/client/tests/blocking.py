"""The asyncio client in blocking clothes, so that one suite of tests covers both clients."""

import asyncio
import inspect
from typing import Any

from algorium import AsyncAlgorium

_WRAPPED = (
    "AsyncAdmin",
    "AsyncAlgorithmHandle",
    "AsyncAlgorithms",
    "AsyncConnectors",
    "AsyncDataDirectory",
    "AsyncDataFile",
    "AsyncEnvironments",
    "AsyncEventListeners",
    "AsyncFileReader",
    "AsyncKeys",
    "AsyncManagedAlgorithm",
    "AsyncNotifications",
    "AsyncOrganizations",
    "AsyncPackageSources",
    "AsyncRegistries",
    "AsyncReports",
    "AsyncReservations",
    "AsyncScms",
    "AsyncSecretProviders",
    "AsyncSecrets",
    "AsyncSessions",
    "AsyncUsers",
)


class Blocking:
    """Passes everything through and runs to its end what can be awaited or iterated."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if inspect.ismethod(value):
            return lambda *args, **kwargs: self._settle(value(*args, **kwargs))
        return self._settle(value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._settle(self._target(*args, **kwargs))

    def __repr__(self) -> str:
        return repr(self._target)

    def __str__(self) -> str:
        return str(self._target)

    def __iter__(self) -> Any:
        return iter(self._runner.run(_collected(self._target)))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._target.aclose())

    def _settle(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            value = self._runner.run(_awaited(value))
        elif inspect.isasyncgen(value):
            return [self._settle(entry) for entry in self._runner.run(_collected(value))]
        return Blocking(value, self._runner) if type(value).__name__ in _WRAPPED else value


def blocking(client: AsyncAlgorium, runner: asyncio.Runner) -> Any:
    return Blocking(client, runner)


async def _awaited(value: Any) -> Any:
    return await value


async def _collected(value: Any) -> list[Any]:
    return [entry async for entry in value]
