"""What a caller can do wrong; `error_type` tells the platform the kind."""


class InputError(Exception):
    """The input is invalid or incomplete."""

    error_type = "InputError"


class EntityNotFoundError(Exception):
    """There is no picture where the input says there is."""

    error_type = "EntityNotFoundError"


class UnsupportedError(Exception):
    """The file is not a picture in a format this algorithm reads or writes."""

    error_type = "UnsupportedError"


class TooLargeError(Exception):
    """The picture is larger than this algorithm is made for."""

    error_type = "TooLargeError"
