"""
Names: what accounts, algorithms, collections and files may be called.

Source: wire specification, "Users", "Algorithm object", "Data URI grammar".
"""

from algorium.wire.refs import is_name
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    ACCOUNT_NAME_CHARS_MAX,
    ALGORITHM_NAME_CHARS_MAX,
    COLLECTION_NAME_CHARS_MAX,
    FILE_NAME_BYTES_MAX,
)


def check_account_name(name: str) -> str:
    """
    Return *name* if an account may be called so.

    Raises:
        InvalidInput: Too long, or not a letter followed by letters, digits and underscores.
    """
    return _checked(name, "an account name", chars_max=ACCOUNT_NAME_CHARS_MAX)


def check_algorithm_name(name: str) -> str:
    """Return *name* if an algorithm may be called so; raises like `check_account_name`."""
    return _checked(name, "an algorithm name", chars_max=ALGORITHM_NAME_CHARS_MAX)


def check_collection_name(name: str) -> str:
    """Return *name* if a collection may be called so; raises like `check_account_name`."""
    return _checked(name, "a directory name", chars_max=COLLECTION_NAME_CHARS_MAX)


def check_file_name(name: str) -> str:
    """
    Return *name* if a file may be called so.

    Raises:
        InvalidInput: Empty, too long, `.`, `..`, or with a slash or NUL in it.
    """
    if (
        name in {"", ".", ".."}
        or "/" in name
        or "\0" in name
        or len(name.encode("utf-8", "surrogatepass")) > FILE_NAME_BYTES_MAX
        or any("\ud800" <= character <= "\udfff" for character in name)
    ):
        raise InvalidInput(f"{name!r} cannot be a file name")
    return name


def _checked(name: str, what: str, *, chars_max: int) -> str:
    if len(name) > chars_max or not is_name(name):
        raise InvalidInput(
            f"{name!r} cannot be {what}: use a letter, then letters, digits and underscores, "
            f"{chars_max} characters at most"
        )
    return name
