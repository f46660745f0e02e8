"""
Paths as users of the old client write them: percent-encoded or not, perhaps with a query.

It leaves encoding to its HTTP library, which encodes what cannot be in an address and takes what
looks encoded as it is; so a name with a percent sign must be written with `%25`, here as there.
"""

import re
from urllib.parse import parse_qsl, quote

_SPARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def as_path(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the path and the query of what comes behind the server's address."""
    path, _, query = url.partition("?")
    encoded = quote(_SPARE_PERCENT.sub("%25", path), safe="/%:+@!$&'()*,;=~")
    return encoded, tuple(parse_qsl(query, keep_blank_values=True))
