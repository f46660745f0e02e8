"""
The clients: one connection pool each, and handles of algorithms, files and directories.

What belongs to a resource is imported when it is first asked for: most programs only call
algorithms, and should not wait for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from algorium import _flow
from algorium._algorithms import AlgorithmHandle
from algorium._config import Connection, connection
from algorium._flow import USAGE_PAGE_MAX, CallOptions, UsageWish
from algorium._http import TransportOptions
from algorium._retry import RetryPolicy
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri
from algorium.wire.usage import UsageRecord, UsageTotal

if TYPE_CHECKING:
    from algorium._admin import Admin
    from algorium._authoring import Algorithms
    from algorium._connector_flow import StorageUse
    from algorium._connectors import Connectors
    from algorium._data import DataFile
    from algorium._directories import DataDirectory
    from algorium._environments import Environments
    from algorium._event_listeners import EventListeners
    from algorium._keys import Keys
    from algorium._notifications import Notifications
    from algorium._organizations import Organizations
    from algorium._package_sources import PackageSources
    from algorium._registries import Registries
    from algorium._reports import Reports
    from algorium._reservations import Reservations
    from algorium._scms import Scms
    from algorium._secret_providers import SecretProviders
    from algorium._sessions import Sessions
    from algorium._upload_flow import UnfinishedUpload
    from algorium._users import Users

TransportT = TypeVar("TransportT", SyncTransport, AsyncTransport)

TIMEOUT_S_DEFAULT: Final = 60.0
"""Between two pieces of an answer; calls add the time that the algorithm may take."""

CONNECTIONS_MAX_DEFAULT: Final = 100
"""Above the 80 calls that an account may have open at once."""


class BaseClient(Generic[TransportT]):
    """
    What both clients share.

    Args:
        api_key: Who you are. Left out: `ALGORITHMIA_API_KEY`, then the profile. Inside an algorithm
            no key is needed.
        api_address: Where the server is. Left out: `ALGORITHMIA_API`, then the profile, then
            `http://127.0.0.1:8080`, where `algorium serve` listens.
        profile: Section of `~/.algorithmia/config`. Named, it stands before the environment; left
            out, `default` is asked last. Its key goes to its own server only.
        bearer_token: A JWT in place of a key. Left out: `ALGORITHMIA_BEARER_TOKEN`, then the
            profile.
        ca_cert: File with certificates to trust beside the system's. Left out: the profile's, then
            `REQUESTS_CA_BUNDLE`.
        proxy: URL of a proxy. Left out: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
        timeout_s: Longest wait for a connection and for the next bytes of an answer. A call waits
            this long beyond its own `.timeout()`.
        retries_max: How often requests that may safely be repeated are: reads, and writes without
            conditions from memory or local files; anything, as long as no connection came about. 0
            turns it off.
        connections_max: Connections open at once; further requests wait for one.

    Raises:
        ConfigurationError: No such profile, an impossible address, unreadable certificates.
    """

    def __init__(
        self,
        api_key: str | None = None,
        api_address: str | None = None,
        *,
        profile: str | None = None,
        bearer_token: str | None = None,
        ca_cert: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        timeout_s: float = TIMEOUT_S_DEFAULT,
        retries_max: int = 2,
        connections_max: int = CONNECTIONS_MAX_DEFAULT,
    ) -> None:
        if not timeout_s > 0 or retries_max < 0 or connections_max < 1:
            raise ValueError("timeout_s, connections_max: above 0; retries_max: 0 or more")
        self._connection = connection(
            api_key=api_key,
            api_address=api_address,
            bearer_token=bearer_token,
            ca_cert=None if ca_cert is None else os.fspath(ca_cert),
            profile=profile,
        )
        options = TransportOptions(
            timeout_s=timeout_s,
            connections_max=connections_max,
            proxy=proxy,
            retry=RetryPolicy(retries_max=retries_max),
        )
        self._transport: TransportT = self._open(self._connection, options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.api_address}>"

    @property
    def api_address(self) -> str:
        """Where the server is, without a trailing slash."""
        return self._connection.api_address

    def _open(self, connection: Connection, options: TransportOptions) -> TransportT:
        raise NotImplementedError


class Algorium(BaseClient[SyncTransport]):
    """
    A client of an Algorium server. Make one and keep it: it reuses its connections.

    May be shared between threads, and used in forked processes. Close it, or use it in a `with`
    block.

    Example:
        with Algorium() as client:
            print(client.algo("demo/Hello").pipe("HAL 9000").as_string())
    """

    def _open(self, connection: Connection, options: TransportOptions) -> SyncTransport:
        return SyncTransport(connection, options)

    def algo(self, ref: str | AlgorithmRef) -> AlgorithmHandle:
        """
        Return a handle of an algorithm; nothing is sent yet.

        Args:
            ref: `owner/name`, `owner/name/version` or the same with the algorithm's id; a leading
                `algo://` is fine. Versions: `1.2.3`, `1.2.x`, `latest`, a commit. Pin one in
                production, so that results do not change under you.

        Raises:
            RefSyntaxError: A ValueError that names the column.
        """
        return AlgorithmHandle(self._transport, as_ref(ref), CallOptions())

    def file(self, uri: str | DataUri) -> DataFile:
        """
        Return a file by its data URI, such as `data://.my/photos/friends.jpg`; nothing is sent yet.

        Raises:
            UriSyntaxError: A ValueError that names the column.
        """
        from algorium._data import DataFile  # noqa: PLC0415

        return DataFile(self._transport, as_uri(uri))

    def dir(self, uri: str | DataUri = "data://") -> DataDirectory:
        """
        Return a directory by its data URI, such as `data://.my/photos`; nothing is sent yet.

        Raises:
            UriSyntaxError: A ValueError that names the column.
        """
        from algorium._directories import DataDirectory  # noqa: PLC0415

        return DataDirectory(self._transport, as_uri(uri))

    @property
    def connectors(self) -> Connectors:
        """Storage elsewhere that your account has connected: S3, Google Cloud, Azure, Dropbox."""
        from algorium._connectors import Connectors  # noqa: PLC0415

        return Connectors(self._transport)

    @property
    def algorithms(self) -> Algorithms:
        """Algorithms that you make: created, built, published, looked into."""
        from algorium._authoring import Algorithms  # noqa: PLC0415

        return Algorithms(self._transport)

    @property
    def environments(self) -> Environments:
        """Languages and environments that algorithms can be built in."""
        from algorium._environments import Environments  # noqa: PLC0415

        return Environments(self._transport)

    @property
    def users(self) -> Users:
        """Users of the server: yourself, and for administrators everybody."""
        from algorium._users import Users  # noqa: PLC0415

        return Users(self._transport)

    @property
    def organizations(self) -> Organizations:
        """Organizations: accounts of several users."""
        from algorium._organizations import Organizations  # noqa: PLC0415

        return Organizations(self._transport)

    @property
    def keys(self) -> Keys:
        """API keys of yours, and of organizations that you own."""
        from algorium._keys import Keys  # noqa: PLC0415

        return Keys(self._transport)

    @property
    def scms(self) -> Scms:
        """Hosts of source, and your connections to them."""
        from algorium._scms import Scms  # noqa: PLC0415

        return Scms(self._transport)

    @property
    def admin(self) -> Admin:
        """What administrators set for a whole server."""
        from algorium._admin import Admin  # noqa: PLC0415

        return Admin(self._transport)

    @property
    def sessions(self) -> Sessions:
        """Browsers that you are signed in with."""
        from algorium._sessions import Sessions  # noqa: PLC0415

        return Sessions(self._transport)

    @property
    def notifications(self) -> Notifications:
        """What you were told: algorithms that were made and released."""
        from algorium._notifications import Notifications  # noqa: PLC0415

        return Notifications(self._transport)

    @property
    def event_listeners(self) -> EventListeners:
        """Queues elsewhere whose messages are meant for algorithms."""
        from algorium._event_listeners import EventListeners  # noqa: PLC0415

        return EventListeners(self._transport)

    @property
    def package_sources(self) -> PackageSources:
        """Where builds of your algorithms find packages of your own."""
        from algorium._package_sources import PackageSources  # noqa: PLC0415

        return PackageSources(self._transport)

    @property
    def secret_providers(self) -> SecretProviders:
        """What keeps the values of secrets."""
        from algorium._secret_providers import SecretProviders  # noqa: PLC0415

        return SecretProviders(self._transport)

    @property
    def registries(self) -> Registries:
        """Container registries, entered by administrators."""
        from algorium._registries import Registries  # noqa: PLC0415

        return Registries(self._transport)

    @property
    def reservations(self) -> Reservations:
        """Slots that are kept warm for accounts; for administrators."""
        from algorium._reservations import Reservations  # noqa: PLC0415

        return Reservations(self._transport)

    @property
    def reports(self) -> Reports:
        """Reports of what was used, for administrators and owners of organizations."""
        from algorium._reports import Reports  # noqa: PLC0415

        return Reports(self._transport)

    def openapi(self) -> dict[str, Any]:
        """Return what the server can be asked for, as a document in OpenAPI 3.1; takes no key."""
        from algorium import _algorithm_flow  # noqa: PLC0415

        return self._transport.run(_algorithm_flow.openapi(None))

    def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """
        Return uploads of large files that were cut off, oldest first.

        `put_file` of the same file to the same place goes on with one; the server gives up the
        others after a week. Until then what has arrived counts as stored.
        """
        from algorium import _upload_flow  # noqa: PLC0415

        return self._transport.run(_upload_flow.begun())

    def abandon_upload(self, upload: UnfinishedUpload) -> None:
        """Give up an upload that was cut off, and free what it takes."""
        from algorium import _upload_flow  # noqa: PLC0415

        self._transport.run(_upload_flow.abandon(upload.upload_id))

    def storage(self, account: str = "") -> StorageUse:
        """
        Return what your account stores and may store.

        Args:
            account: An organization that you belong to, instead.

        Raises:
            AccountNotFound: No such account, or not for you.
        """
        from algorium import _connector_flow  # noqa: PLC0415

        return self._transport.run(_connector_flow.storage(account))

    def usage(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        algorithm: str | AlgorithmRef = "",
        account: str = "",
        page: int = USAGE_PAGE_MAX,
    ) -> Iterator[UsageRecord]:
        """
        Go through what each call of your account took, newest first.

        Pages are fetched as you go on.

        Args:
            since: Calls from this day or time on; a time without a zone is UTC.
            until: Calls before this day or time.
            algorithm: Calls of this one only.
            account: Of another account: an organization that you own; any, with an admin key.
            page: Records to fetch at once, at most 1000.

        Raises:
            NotAuthorized: The key may not see usage.
            NotFound: No such account, or not for you.
        """
        wish = UsageWish(since=since, until=until, algorithm=str(algorithm), account=account)
        marker = ""
        while True:
            flow = _flow.usage(wish, UsageRecord, limit=page, marker=marker)
            found = self._transport.run(flow)
            yield from found.results
            if not (marker := found.marker):
                return

    def usage_totals(
        self,
        *,
        by: Sequence[str] = (),
        since: date | None = None,
        until: date | None = None,
        algorithm: str | AlgorithmRef = "",
        account: str = "",
    ) -> list[UsageTotal]:
        """
        Return what the calls of your account took together.

        Args:
            by: What to tell apart: some of `account`, `algorithm`, `version`, `day`. Without it
                there is one sum, and none without calls.
            since: Calls from this day or time on; a time without a zone is UTC.
            until: Calls before this day or time.
            algorithm: Calls of this one only.
            account: Of another account: an organization that you own; any, with an admin key.

        Raises:
            NotAuthorized: The key may not see usage.
            NotFound: No such account, or not for you.
        """
        wish = UsageWish(
            since=since, until=until, algorithm=str(algorithm), account=account, by=tuple(by)
        )
        return self._transport.run(_flow.usage_totals(wish))

    def close(self) -> None:
        """Close all connections. The client and its handles cannot be used any more."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def as_ref(ref: str | AlgorithmRef) -> AlgorithmRef:
    """Return a reference, read from text if need be."""
    return AlgorithmRef.parse(ref) if isinstance(ref, str) else ref


def as_uri(uri: str | DataUri) -> DataUri:
    """Return a data URI, likewise."""
    return DataUri.parse(uri) if isinstance(uri, str) else uri
