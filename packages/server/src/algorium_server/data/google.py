"""
Google Cloud Storage.

obstore reads, writes and deletes objects. It lists neither buckets nor directories a page at a
time, and cannot name keys that end in a slash; those requests are made here.

Over plain HTTP there is no token: it would be anybody's who reads along. Only what needs none, such
as an emulator, can be used so.

Source: Google, "Cloud Storage JSON API": objects, buckets.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from obstore.store import GCSStore

from algorium_server.data.connector import Entry
from algorium_server.data.levels import (
    Level,
    Store,
    hexadecimal,
    moment_of,
    size_of,
)
from algorium_server.data.opening import client_options, retry_config
from algorium_server.data.refusals import Scrubber, failure
from algorium_server.data.requests import Answer, Requests
from algorium_server.data.signing import (
    GOOGLE_TOKEN_S,
    encoded,
    google_token,
    private_key,
    query_of,
)
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.errors import InvalidInput, SourceFailed
from algorium_server.domain.limits import (
    LISTING_ENTRIES_MAX,
    SOURCE_BUCKETS_MAX,
    SOURCE_LISTING_PAGES_MAX,
)

_ENDPOINT: Final = "https://storage.googleapis.com"
_RENEWED_S: Final = 300
"""Before a token ends: a request under way must not outlive it."""


class _Object(msgspec.Struct):
    name: str
    size: str = "0"
    updated: str = ""
    generation: str = ""
    md5Hash: str = ""  # noqa: N815 - as the service spells it


class _Objects(msgspec.Struct):
    items: list[_Object] = []
    prefixes: list[str] = []
    nextPageToken: str = ""  # noqa: N815


class _Bucket(msgspec.Struct):
    name: str


class _Buckets(msgspec.Struct):
    items: list[_Bucket] = []
    nextPageToken: str = ""  # noqa: N815


class GoogleService:
    """
    Google Cloud Storage with one service account; see `ObjectService`.

    Args:
        credentials: `email`, `private_key_id` and `private_key`.
        options: Where and how.
        scrub: Knows the secrets among these.
        clock: Tells the time for tokens.
    """

    protocol = "gs"
    has_buckets = True

    def __init__(
        self,
        credentials: Mapping[str, str],
        options: ConnectorOptions,
        scrub: Scrubber,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._email = credentials["email"]
        self._key_id = credentials["private_key_id"]
        self._base = (options.endpoint or _ENDPOINT).rstrip("/")
        self._key = private_key(credentials["private_key"]) if self._is_signed else None
        self._options = options
        self._scrub = scrub
        self._clock = clock
        self._token = ("", datetime.min.replace(tzinfo=UTC))
        self._requests = Requests("gs", scrub, ca_certificate=options.ca_certificate)

    async def store(self, bucket: str) -> Store:
        """Return obstore's view of a bucket."""
        # Always a provider: without one, the library asks the metadata service of this machine for
        # a token, and that is nobody's but the operator's.
        return GCSStore(
            bucket,
            base_url=self._base,
            credential_provider=self._provided,
            client_options=client_options(self._options),
            retry_config=retry_config(),
        )

    async def level(
        self, bucket: str, prefix: str, *, token: str = "", limit: int = LISTING_ENTRIES_MAX
    ) -> Level:
        """List a level; see `ObjectService.level`."""
        parameters = {
            "delimiter": "/",
            "maxResults": str(limit),
            "prefix": prefix,
        }
        if token:
            parameters["pageToken"] = token
        path = f"/storage/v1/b/{encoded(bucket)}/o"
        found = _read(await self._send("GET", path, parameters), _Objects)
        objects = (
            Entry(
                name=each.name,
                is_directory=False,
                size_bytes=size_of(each.size),
                modified_at=moment_of(each.updated),
                etag=each.generation,
                md5=hexadecimal(each.md5Hash),
            )
            for each in found.items
        )
        return Level.below(prefix, objects, found.prefixes, token=found.nextPageToken)

    async def buckets(self) -> list[str]:
        """Return the names of all buckets of the service account's project."""
        if self._options.bucket:
            return [self._options.bucket]
        # `name@project.iam.gserviceaccount.com`
        project = self._email.partition("@")[2].partition(".")[0]
        if not project:
            raise InvalidInput("gs: name a bucket, such as gs://bucket")
        found: list[str] = []
        parameters = {"project": project}
        for _ in range(SOURCE_LISTING_PAGES_MAX):
            page = _read(await self._send("GET", "/storage/v1/b", parameters), _Buckets)
            found += [bucket.name for bucket in page.items]
            if len(found) > SOURCE_BUCKETS_MAX:
                raise SourceFailed(f"{self.protocol}: there are too many buckets to be listed")
            if not page.nextPageToken:
                break
            parameters = {"project": project, "pageToken": page.nextPageToken}
        return found

    async def put_mark(self, bucket: str, key: str) -> None:
        """Make a mark; see `ObjectService.put_mark`."""
        path = f"/upload/storage/v1/b/{encoded(bucket)}/o"
        await self._send("POST", path, {"uploadType": "media", "name": key})

    async def delete_mark(self, bucket: str, key: str) -> None:
        """Delete a mark; see `ObjectService.delete_mark`."""
        path = f"/storage/v1/b/{encoded(bucket)}/o/{encoded(key)}"
        await self._send("DELETE", path, {}, accepts=404)

    def etag_of(self, meta: Any) -> str:
        """Return an object's generation: what conditions of this service are about."""
        return str(meta.get("version") or "")

    def version_of(self, etag: str) -> dict[str, str]:
        """Return the version of a generation."""
        return {"version": etag}

    def reason(self, error: BaseException) -> Exception:
        """Return the error that stands for what obstore raised."""
        return failure("gs", error, self._scrub)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._requests.close()

    @property
    def _is_signed(self) -> bool:
        return self._base.startswith("https://")

    async def _send(
        self, method: str, path: str, parameters: Mapping[str, str], *, accepts: int = 200
    ) -> Answer:
        url = f"{self._base}{path}"
        if parameters:
            url = f"{url}?{query_of(parameters)}"
        headers = {"content-type": "application/octet-stream"} if method == "POST" else {}
        if self._is_signed:
            headers["authorization"] = f"Bearer {self._provided()['token']}"
        answer = await self._requests.send(method, url, headers=headers)
        return answer if answer.status == accepts else self._requests.checked(answer)

    def _provided(self) -> Any:
        if self._key is None:
            return {"token": "none", "expires_at": None}
        token, ends_at = self._token
        now = self._clock()
        if now >= ends_at - timedelta(seconds=_RENEWED_S):
            token = google_token(self._key, key_id=self._key_id, email=self._email, now=now)
            ends_at = now + timedelta(seconds=GOOGLE_TOKEN_S)
            self._token = (token, ends_at)
        return {"token": token, "expires_at": ends_at}


def _read(answer: Answer, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SourceFailed("gs: the source's answer cannot be understood") from None
