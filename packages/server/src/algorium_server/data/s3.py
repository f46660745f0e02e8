"""
S3, and whatever speaks its protocol.

obstore reads, writes and deletes objects. It lists neither buckets nor directories a page at a
time, and cannot name keys that end in a slash; those requests are made here.

Source: AWS, "Amazon S3 API Reference": ListObjectsV2, ListBuckets, PutObject, DeleteObject.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit
from xml.etree.ElementTree import Element

from obstore.store import S3Store

from algorium_server.data.connector import Entry
from algorium_server.data.levels import (
    Level,
    Store,
    moment_of,
    size_of,
    texts,
    unquoted,
    xml_of,
)
from algorium_server.data.opening import client_options, retry_config
from algorium_server.data.refusals import Scrubber, failure
from algorium_server.data.requests import Answer, Requests
from algorium_server.data.signing import encoded, query_of, s3_headers
from algorium_server.domain.connectors import ConnectorOptions, is_region
from algorium_server.domain.errors import SourceFailed
from algorium_server.domain.limits import (
    LISTING_ENTRIES_MAX,
    SOURCE_BUCKETS_MAX,
    SOURCE_LISTING_PAGES_MAX,
)

_REGION: Final = "us-east-1"
"""Where requests are signed for if nobody says where the bucket is."""


class S3Service:
    """
    S3 with one access key; see `ObjectService`.

    Args:
        credentials: `access_key_id`, `secret_access_key`, and maybe `session_token`.
        options: Where and how.
        scrub: Knows the secrets among these.
        clock: Tells the time for signatures.
    """

    protocol = "s3"
    has_buckets = True

    def __init__(
        self,
        credentials: Mapping[str, str],
        options: ConnectorOptions,
        scrub: Scrubber,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._credentials = credentials
        self._options = options
        self._scrub = scrub
        self._clock = clock
        self._requests = Requests("s3", scrub, ca_certificate=options.ca_certificate)
        self._regions: dict[str, str] = {}

    async def store(self, bucket: str) -> Store:
        """Return obstore's view of a bucket."""
        address = self._address(bucket, await self._region(bucket))
        options = self._options
        further: dict[str, Any] = {}
        if options.kms_key_id:
            further["server_side_encryption"] = "aws:kms"
            further["sse_kms_key_id"] = options.kms_key_id
        # With the bucket in its host or path the address is complete, and obstore adds nothing.
        return S3Store(
            bucket,
            endpoint=address,
            aws_endpoint_url_s3=address,
            region=await self._region(bucket),
            virtual_hosted_style_request=True,
            disable_bulk_delete=True,
            credential_provider=self._provided,
            client_options=client_options(options),
            retry_config=retry_config(),
            **further,
        )

    async def level(
        self, bucket: str, prefix: str, *, token: str = "", limit: int = LISTING_ENTRIES_MAX
    ) -> Level:
        """List a level; see `ObjectService.level`."""
        parameters = {
            "list-type": "2",
            "delimiter": "/",
            "encoding-type": "url",
            "max-keys": str(limit),
            "prefix": prefix,
        }
        if token:
            parameters["continuation-token"] = token
        answer = await self._send("GET", bucket, parameters=parameters)
        root = xml_of(self._requests.checked(answer).body, "s3", kind="ListBucketResult")
        is_encoded = "url" in texts(root, "EncodingType")

        def key_of(text: str) -> str:
            return unquote_plus(text) if is_encoded else text

        is_cut = "true" in texts(root, "IsTruncated")
        objects = root.iterfind("Contents")
        return Level.below(
            prefix,
            (_entry(each, key_of(each.findtext("Key") or "")) for each in objects),
            map(key_of, texts(root, "CommonPrefixes", "Prefix")),
            token=next(texts(root, "NextContinuationToken"), "") if is_cut else "",
        )

    async def buckets(self) -> list[str]:
        """Return the names of all buckets; see `ObjectService.buckets`."""
        if self._options.bucket:
            return [self._options.bucket]
        found: list[str] = []
        token = ""
        for _ in range(SOURCE_LISTING_PAGES_MAX):
            parameters = {"continuation-token": token} if token else {}
            answer = await self._send("GET", "", parameters=parameters)
            root = xml_of(self._requests.checked(answer).body, "s3", kind="ListAllMyBucketsResult")
            found += texts(root, "Buckets", "Bucket", "Name")
            token = next(texts(root, "ContinuationToken"), "")
            if len(found) > SOURCE_BUCKETS_MAX:
                raise SourceFailed(f"{self.protocol}: there are too many buckets to be listed")
            if not token:
                break
        return found

    async def put_mark(self, bucket: str, key: str) -> None:
        """Make a mark; see `ObjectService.put_mark`."""
        headers = {}
        if self._options.kms_key_id:
            headers["x-amz-server-side-encryption"] = "aws:kms"
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self._options.kms_key_id
        self._requests.checked(await self._send("PUT", bucket, key, headers=headers))

    async def delete_mark(self, bucket: str, key: str) -> None:
        """Delete a mark; see `ObjectService.delete_mark`."""
        answer = await self._send("DELETE", bucket, key)
        if answer.status != 404:
            self._requests.checked(answer)

    def etag_of(self, meta: Any) -> str:
        """Return an object's ETag."""
        return unquoted(meta.get("e_tag"))

    def version_of(self, etag: str) -> dict[str, str]:
        """Return the version that has an ETag."""
        return {"e_tag": f'"{etag}"'}

    def reason(self, error: BaseException) -> Exception:
        """Return the error that stands for what obstore raised."""
        return failure("s3", error, self._scrub)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._requests.close()

    async def _send(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        region = await self._region(bucket)
        address = self._address(bucket, region)
        parts = urlsplit(address)
        path = f"{parts.path}/{encoded(key, keep='/')}"
        if bucket and not key and parts.path:
            path = parts.path  # `/bucket/` would be the object without a name to some services
        signed = s3_headers(
            method,
            host=parts.netloc,
            path=path or "/",
            parameters=parameters or {},
            headers=headers or {},
            credentials=self._credentials,
            region=region,
            now=self._clock(),
        )
        url = f"{parts.scheme}://{parts.netloc}{path or '/'}"
        if parameters:
            url = f"{url}?{query_of(parameters)}"
        return await self._requests.send(method, url, headers=signed)

    async def _region(self, bucket: str) -> str:
        # A bucket answers in its own region only, and tells any other one which that is.
        if self._options.region or not bucket:
            return self._options.region or _REGION
        if bucket not in self._regions:
            answer = await self._requests.send("HEAD", self._address(bucket, _REGION), headers={})
            told = answer.headers.get("x-amz-bucket-region", "")
            self._regions[bucket] = told if is_region(told) else _REGION
        return self._regions[bucket]

    def _address(self, bucket: str, region: str) -> str:
        suffix = ".cn" if region.startswith("cn-") else ""
        base = self._options.endpoint or f"https://s3.{region}.amazonaws.com{suffix}"
        base = base.rstrip("/")
        if not bucket:
            return base
        if self._options.path_style:
            return f"{base}/{bucket}"
        scheme, _, rest = base.partition("://")
        return f"{scheme}://{bucket}.{rest}"

    def _provided(self) -> Any:
        # Through this, and not as plain options, so that nothing of the server's own environment
        # (a token that belongs to another key) is mixed in.
        return {
            "access_key_id": self._credentials["access_key_id"],
            "secret_access_key": self._credentials["secret_access_key"],
            "token": self._credentials.get("session_token") or None,
            "expires_at": None,
        }


def _entry(found: Element, key: str) -> Entry:
    return Entry(
        name=key,
        is_directory=False,
        size_bytes=size_of(found.findtext("Size")),
        modified_at=moment_of(found.findtext("LastModified") or ""),
        etag=unquoted(found.findtext("ETag")),
    )
