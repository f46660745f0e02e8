"""What authors ask for, as the wire spells it; None is left out. Pure."""

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar

from algorium._values import to_json

T = TypeVar("T", bound=Mapping[str, Any])


class AlgorithmChanges(TypedDict, total=False):
    """What can be changed of an algorithm: the arguments of `ManagedAlgorithm.update`."""

    label: str | None
    summary: str | None
    tagline: str | None
    environment: str | None
    source_visibility: str | None
    license: str | None
    network_access: str | None
    is_pipeline_enabled: bool | None
    sample_input: Any
    settings: Mapping[str, Any] | None


def known_options(told: T, shape: type) -> T:
    """
    Return what was told as keywords, if all of them are known.

    Type checkers see to that where they are used; where they are not, the server would take
    `fulname` for something newer than itself, and ignore it.

    Args:
        told: By option.
        shape: The `TypedDict` of *told*.

    Raises:
        TypeError: One of them is unknown; the message has the known ones.
    """
    known = shape.__annotations__  # of the inherited ones as well: TypedDict copies them
    unknown = [name for name in told if name not in known]
    if not unknown:
        return told
    from difflib import get_close_matches  # noqa: PLC0415 - only mistakes pay for it

    close = get_close_matches(unknown[0], known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise TypeError(f"unknown option {unknown[0]}{meant}; known are {', '.join(known)}")


def algorithm_wish(
    *,
    label: str | None = None,
    summary: str | None = None,
    tagline: str | None = None,
    language: str | None = None,
    environment: str | None = None,
    source_visibility: str | None = None,
    license_: str | None = None,
    network_access: str | None = None,
    is_pipeline_enabled: bool | None = None,
    sample_input: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a new algorithm, or what is to change of one, without its name."""
    wish = {
        "details": given(label=label, summary=summary, tagline=tagline),
        "settings": given(
            language=language,
            environment="cpu" if language is not None else None,
            algorithm_environment=environment,
            source_visibility=source_visibility,
            license=license_,
            network_access=network_access,
            pipeline_enabled=is_pipeline_enabled,
            **(settings or {}),
        ),
        "version_info": given(sample_input=_sample(sample_input)),
    }
    return {name: members for name, members in wish.items() if members}


def publish_wish(
    *,
    version_type: str | None = None,
    number: str | None = None,
    commit: str | None = None,
    callability: str | None = None,
    release_notes: str | None = None,
    sample_input: Any = None,
    sample_output: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a version that is to be."""
    wish = {
        "settings": given(algorithm_callability=callability, **(settings or {})),
        "version_info": given(
            version_type=version_type,
            semantic_version=number,
            git_hash=commit,
            release_notes=release_notes,
            sample_input=_sample(sample_input),
            sample_output=_sample(sample_output),
        ),
    }
    return {name: members for name, members in wish.items() if members}


def given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _sample(value: Any) -> str | None:
    """Return a sample as text: of what is no text, its JSON."""
    return value if value is None or isinstance(value, str) else to_json(value)
