"""Short texts that people write about things: one line, and not too long."""

import unicodedata

from algorium_server.domain.errors import AlgoriumError, InvalidInput

_UNWANTED = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of characters and line ends: they would break lists and logs."""


def check_text(
    text: str, what: str, *, chars_max: int, refusal: type[AlgoriumError] = InvalidInput
) -> str:
    """
    Return *text* if it can be a short text.

    Args:
        text: As it came.
        what: Which field it is, for the message.
        chars_max: How long it may be.
        refusal: What is raised.

    Raises:
        AlgoriumError: *refusal*: too long, or more than one line of characters that can be seen.
    """
    if len(text) > chars_max:
        raise refusal(f"{what} is limited to {chars_max} characters")
    if any(unicodedata.category(character) in _UNWANTED for character in text):
        raise refusal(f"{what} must be one line of text, without control characters")
    return text
