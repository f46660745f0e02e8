"""
What algorithms can be written in: languages, and the environments that a server offers for them.

The old service had two generations of names. Settings of the first say `language` and the type of
machine; those of the second name an environment by its id. Here both lead to the same few ways to
build and run a project, in the version that the host has, or that the author chose.

Ids are made of names, so they are the same on every server and after every restart.

Source: wire specification, "Languages and environments"; of the runtime, "Project layout".
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from algorium_server.domain.algorithms import MachineType
from algorium_server.domain.errors import (
    InvalidRequest,
    PackageSetNotFound,
    UnknownLanguage,
    UnsupportedMachine,
)
from algorium_server.domain.languages import Language, language_of

_NAMESPACE: Final = uuid.UUID("6f8f7c5e-3d0a-5b5e-9c39-5d6f7a1c2b40")
_PYTHON_MINORS_MAX: Final = 64
"""Python will not have more soon."""
_EXPECTED_PYTHON: Final = "3.8"
"""Clients of the old service look for this one by its display name."""
_PYTHON_SET: Final = re.compile(r"python-?(3)[._]?(\d{1,2})?", re.IGNORECASE)
_GONE: Final = re.compile(
    r"(python-?2|anaconda|scala|csharp|c#)[a-z0-9.-]*|python2-lack?pack", re.IGNORECASE
)
"""Languages of the old service that nothing runs here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLanguage:
    """
    A language, as authors see it.

    Attributes:
        name: On the wire, and in settings.
        display_name: For people.
        language: How it is built and run; None if nothing here runs it.
        required_files: What a project must have.
        artifacts: Files that run, and where they lie in a sandbox.
    """

    name: str
    display_name: str
    language: Language | None
    required_files: tuple[str, ...] = ()
    artifacts: tuple[tuple[str, str], ...] = (("/opt/algorithm", "/opt/algorithm"),)


LANGUAGES: Final = (
    OfferedLanguage(name="anaconda3", display_name="Anaconda 3", language=None),
    OfferedLanguage(name="csharp-dotnet-core2", display_name="C# .NET Core 2", language=None),
    OfferedLanguage(
        name="java11",
        display_name="Java 11",
        language=Language.JAVA,
        required_files=("pom.xml",),
    ),
    OfferedLanguage(name="javascript", display_name="JavaScript", language=Language.NODE),
    OfferedLanguage(name="python2", display_name="Python 2", language=None),
    OfferedLanguage(
        name="python3",
        display_name="Python 3",
        language=Language.PYTHON,
        required_files=("requirements.txt",),
    ),
    OfferedLanguage(
        name="r36", display_name="R 3.6", language=Language.R, required_files=("packages.txt",)
    ),
    OfferedLanguage(
        name="ruby", display_name="Ruby", language=Language.RUBY, required_files=("Gemfile",)
    ),
    OfferedLanguage(
        name="rust", display_name="Rust", language=Language.RUST, required_files=("Cargo.toml",)
    ),
    OfferedLanguage(name="scala-2", display_name="Scala 2", language=None),
)
"""All of them, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    What an author can choose for an algorithm.

    Attributes:
        language: Its language.
        display_name: For people, and for clients that look for it by this.
        description: What really runs.
        version: Of the language, as far as the author's choice decides it; else empty.
        machine_type: On what it runs.
    """

    language: OfferedLanguage
    display_name: str
    description: str = ""
    version: str = ""
    machine_type: MachineType = MachineType.CPU

    @property
    def environment_id(self) -> str:
        """What settings say to choose it."""
        return self._id("environment")

    @property
    def specification_id(self) -> str:
        """By which administrators enable and disable it, and which has the template."""
        return self._id("specification")

    def _id(self, kind: str) -> str:
        name = f"{kind} {self.language.name} {self.version} {self.machine_type}"
        return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an author has chosen, as settings keep it."""

    language: str
    environment_id: str = ""
    package_set: str = ""
    machine_type: MachineType = MachineType.CPU


def environments(python_versions: Sequence[str]) -> list[Environment]:
    """
    Return all environments, those of one language together, the one to take by default first.

    Args:
        python_versions: Of Python on this host, such as `3.11`; the server's own first.
    """
    found: list[Environment] = []
    for language in LANGUAGES:
        if language.language is Language.PYTHON:
            found += _of_python(language, python_versions)
        elif language.language is not None:
            found.append(
                Environment(
                    language=language,
                    display_name=language.display_name,
                    description=f"{language.display_name}, in the version that this server has.",
                )
            )
    return found


def language_named(name: str) -> OfferedLanguage | None:
    """Return the language that is offered under a name, in whatever case."""
    return next((each for each in LANGUAGES if each.name == name.lower()), None)


def choose(
    known: Mapping[str, Environment],
    *,
    environment_id: str = "",
    package_set: str = "",
    language: str = "",
    machine_type: MachineType | None = None,
) -> Choice:
    """
    Make one choice of what a request says in up to three ways.

    Args:
        known: Environments that can be chosen, by their ids.
        environment_id: The present way.
        package_set: An older one.
        language: The oldest one, with *machine_type*.
        machine_type: None if it is not said.

    Raises:
        InvalidRequest: Nothing is said.
        UnknownLanguage: There is no such language or environment, or they do not belong together.
        PackageSetNotFound: There is no such set.
        UnsupportedMachine: No machine of that type is there.
    """
    check_machine(machine_type)
    implied = []
    if environment_id:
        environment = known.get(environment_id.lower())
        if environment is None:
            raise UnknownLanguage(
                f"there is no environment {environment_id!r}, or it is disabled: "
                "GET /v1/algorithm-environments/edge/languages/{language}/environments lists them"
            )
        implied.append(environment.language.name)
    if package_set:
        implied.append(_language_of_set(package_set))
    if language:
        _check_language(language)
        implied.insert(0, language)
    if not implied:
        raise InvalidRequest(
            "settings must have algorithm_environment, package_set, or language and environment"
        )
    if len({language_of(name) for name in implied}) > 1:
        raise UnknownLanguage(f"these settings name different languages: {', '.join(implied)}")
    return Choice(
        language=implied[0], environment_id=environment_id.lower(), package_set=package_set
    )


def check_machine(machine_type: MachineType | None) -> None:
    """
    Raise if there is no such machine.

    Raises:
        UnsupportedMachine: There is none.
    """
    if machine_type is MachineType.GPU:
        raise UnsupportedMachine("this server has no machines with GPUs: ask for environment=cpu")


def python_environment_name(environment_id: str) -> str:
    """
    Return what an environment of Python is called, such as `Python 3.9`; empty for others.

    Also of versions that this host does not have: an algorithm may have chosen one before.
    """
    return _python_environments().get(environment_id, "")


def _of_python(language: OfferedLanguage, versions: Sequence[str]) -> Iterable[Environment]:
    for version in versions:
        yield Environment(
            language=language,
            display_name=f"Python {version}",
            description=f"Python {version}, with what requirements.txt or pyproject.toml asks for.",
            version=version,
        )
    if _EXPECTED_PYTHON not in versions:
        yield Environment(
            language=language,
            display_name=f"Python {_EXPECTED_PYTHON}",
            description=(
                f"Projects for Python {_EXPECTED_PYTHON}, which this server does not have: "
                f"they run in Python {versions[0]}."
            ),
            version=_EXPECTED_PYTHON,
        )


def _language_of_set(package_set: str) -> str:
    if _PYTHON_SET.fullmatch(package_set):
        return "python3"
    if language_of(package_set) is None:
        raise PackageSetNotFound(
            f"there is no package set {package_set!r}: python3, or one such as python311, is one"
        )
    return package_set


def _check_language(name: str) -> None:
    if language_of(name) is not None:
        return
    known = ", ".join(each.name for each in LANGUAGES if each.language is not None)
    if _GONE.fullmatch(name):
        raise UnknownLanguage(f"algorithms in {name!r} do not run on this server; in {known} do")
    raise UnknownLanguage(f"there is no language {name!r}; there are {known}")


@lru_cache(maxsize=1)
def _python_environments() -> Mapping[str, str]:
    versions = [f"3.{minor}" for minor in range(_PYTHON_MINORS_MAX)]
    return {each.environment_id: each.display_name for each in environments(versions)}
