"""What a caller can do wrong; `error_type` tells the platform the kind."""


class InputError(Exception):
    """The input is invalid or incomplete."""

    error_type = "InputError"


class EntityNotFoundError(Exception):
    """The documents are not where the input says they are."""

    error_type = "EntityNotFoundError"


class ParsingError(Exception):
    """The file of documents cannot be read as one."""

    error_type = "ParsingError"


class TooLargeError(Exception):
    """There is more to do than this algorithm is made for."""

    error_type = "TooLargeError"
