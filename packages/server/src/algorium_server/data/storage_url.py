"""
The value of `--storage`: a place in an object store, as a text.

    s3://BUCKET/PREFIX  gs://BUCKET/PREFIX  azure://CONTAINER/PREFIX   each with ?name=value

`az://` is another way to write `azure://`, as the provider's own tools do.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from algorium_server.domain.errors import InvalidInput

_SCHEMES: Final = {"s3": "s3", "gs": "gs", "azure": "azure", "az": "azure"}
_OPTIONS: Final = {
    "s3": {"endpoint", "region", "allow_http", "path_style"},
    "gs": {"endpoint", "allow_http"},
    "azure": {"endpoint", "allow_http"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUrl:
    """
    A place in an object store: `s3://BUCKET/PREFIX?endpoint=…&region=…`.

    Attributes:
        scheme: `s3`, `gs` or `azure`.
        bucket: Its name; of Azure the container's.
        prefix: Of all keys, without a slash at its ends; may be empty.
        endpoint: Where the store is, if not at the provider's own address.
        region: Of S3.
        is_plain: The endpoint may be reached without encryption.
        has_path_style: The bucket is part of the path, not of the host's name.
    """

    scheme: str
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    is_plain: bool = False
    has_path_style: bool = False

    @classmethod
    def parse(cls, text: str) -> "StorageUrl":
        """
        Read *text*.

        Raises:
            InvalidInput: It is no such place.
        """
        try:
            parts = urlsplit(text)
            query = dict(
                parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
                if parts.query
                else ()
            )
        except ValueError as error:
            raise InvalidInput(f"--storage cannot be read: {error}") from error
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None or not parts.netloc or "@" in parts.netloc:
            raise InvalidInput(
                "--storage must be local, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or"
                " azure://CONTAINER/PREFIX; credentials belong into the environment"
            )
        unknown = sorted(set(query) - _OPTIONS[scheme])
        if unknown:
            raise InvalidInput(
                f"--storage does not know {', '.join(unknown)};"
                f" {parts.scheme} has {', '.join(sorted(_OPTIONS[scheme]))}"
            )
        endpoint = query.get("endpoint", "")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise InvalidInput("--storage: endpoint must begin with http:// or https://")
        return cls(
            scheme=scheme,
            bucket=parts.netloc,
            prefix=unquote(parts.path).strip("/"),
            endpoint=endpoint.rstrip("/"),
            region=query.get("region", ""),
            is_plain=query.get("allow_http", "") == "true",
            has_path_style=query.get("path_style", "true" if endpoint else "") == "true",
        )
