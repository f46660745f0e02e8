"""Greets whatever it is given."""

import json


class InputError(Exception):
    """The input cannot be greeted."""

    error_type = "InputError"


def apply(input):
    return f"Hello {_as_text(input)}"


def _as_text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"binary input must be text in UTF-8: {error}") from error
    # As JSON, the way the caller wrote it: null, true, [1, 2].
    return json.dumps(value, ensure_ascii=False)
