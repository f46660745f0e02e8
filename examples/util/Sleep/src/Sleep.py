"""Sleeps for a number of seconds."""

import time

SECONDS_MAX = 3000  # the longest timeout a call can have


class InputError(Exception):
    """The input is not a number of seconds that can be slept."""

    error_type = "InputError"


def apply(input):
    seconds = _seconds(input)
    time.sleep(seconds)
    return seconds


def _seconds(value):
    if isinstance(value, dict):
        if "seconds" not in value:
            raise InputError('an object must have the member "seconds"')
        value = value["seconds"]
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InputError(f"expected a number of seconds, not {value[:100]!r}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"expected a number of seconds, not {type(value).__name__}")
    if not 0 <= value <= SECONDS_MAX:  # NaN is not either
        raise InputError(f"seconds must be between 0 and {SECONDS_MAX}, not {str(value)[:100]}")
    return value
