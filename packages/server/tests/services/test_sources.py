"""Connected sources on their way: kept open while they are used, and whose they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import peers
import pytest
from data_site import Site, running_site
from fake_dropbox import running_dropbox

from algorium.wire.uris import DataUri
from algorium_server.data.connector import Span
from algorium_server.domain.connectors import (
    ConnectorOptions,
    CredentialKind,
    StorageProtocol,
)
from algorium_server.domain.errors import (
    InternalError,
    InvalidInput,
    NotAuthorized,
    NotFound,
    SourceFailed,
    TooManyRequests,
)
from algorium_server.domain.identity import Role
from algorium_server.domain.limits import (
    CONNECTORS_PER_ACCOUNT_MAX,
    SOURCE_OPEN_S,
    SOURCE_UPLOADS_MAX,
)
from algorium_server.sealing import Seal
from algorium_server.services.files.connectors import ConnectorService, Description
from algorium_server.services.files.reaching import Reach, parse_places
from algorium_server.services.files.sources import Sources
from algorium_server.store import connectors as rows
from algorium_server.store.database import sqlite_url

ALLOWED = Reach(parse_places("127.0.0.1"))
SEAL = Seal({"k": b"k" * 32}, current="k")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class World:
    def __init__(self, site: Site, dropbox: peers.Peer) -> None:
        self.site = site
        self.dropbox = dropbox
        self.clock = Clock()
        self.sources = self.with_reach(ALLOWED)
        self.connectors = ConnectorService(site.database, site.directory, self.sources)

    def with_reach(self, reach: Reach, seal: Seal = SEAL) -> Sources:
        return Sources(self.site.database, seal, reach, clock_s=self.clock)

    async def create(self, name: str = "jane", **fields: Any) -> str:
        wanted = Description(
            protocol=StorageProtocol.DROPBOX,
            cred_type=CredentialKind.OAUTH,
            credentials=self.dropbox.credentials,
            options=ConnectorOptions(**self.dropbox.options),
            **{"is_default": True, "is_writeable": True, **fields},
        )
        owned = await self.connectors.create(self.site.principal("jane"), name, wanted)
        return owned.connector.connector_id

    async def put(self, name: str, content: bytes) -> None:
        spot = await self.spot(f"dropbox://{name}", for_writing=True)

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await spot.connector.write(spot.path, chunks())

    async def spot(self, uri: str, *, who: str = "jane", for_writing: bool = False) -> Any:
        principal = self.site.principal(who)
        return await self.sources.spot(principal, DataUri.parse(uri), for_writing=for_writing)


@asynccontextmanager
async def world(place: Path) -> AsyncIterator[World]:
    (place / "dropbox").mkdir()
    url = sqlite_url(place / "algorium.db")
    with running_dropbox(place / "dropbox") as dropbox:
        async with running_site(url, place / "blobs", serves=False) as site:
            found = World(site, dropbox)
            yield found
            await found.sources.close()


def test_what_is_being_read_stays_open_whatever_happens_to_its_connector(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            connector_id = await w.create()
            content = bytes(range(256)) * 4096 * 4
            await w.put("file", content)
            spot = await w.spot("dropbox://file")
            file = await spot.connector.open(spot.path)
            chunks = file.chunks()
            read = await anext(chunks)

            w.clock.now_s += SOURCE_OPEN_S + 1
            await spot.connector.stat(spot.path)  # opens it anew
            jane = w.site.principal("jane")
            await w.connectors.change(jane, "jane", connector_id, Description(label="renamed"))
            await w.connectors.delete(jane, "jane", connector_id)
            await w.sources.close()

            read += b"".join([chunk async for chunk in chunks])
            await file.close()
            await file.close()
            assert read == content
            with pytest.raises(NotFound):
                await w.spot("dropbox://file")

    asyncio.run(check())


def test_many_that_come_at_once_share_a_source(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            await w.put("file", b"x")
            await w.sources.close()
            spot = await w.spot("dropbox://file")
            entries = await asyncio.gather(*(spot.connector.stat(spot.path) for _ in range(20)))

            assert {entry.size_bytes for entry in entries} == {1}
            assert len(w.sources._opened) == 1

    asyncio.run(check())


def test_long_uploads_wait_for_room_and_short_ones_do_not(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            await w.create(is_default=False, label="other")
            begun, go_on = [], asyncio.Event()

            async def slow(name: str):
                begun.append(name)
                await go_on.wait()
                yield b"x"

            async def write(name: str, size_bytes: int | None):
                # More connectors make no more room.
                which = "dropbox+other" if name[-1] in "02468" else "dropbox"
                spot = await w.spot(f"{which}://{name}", for_writing=True)
                await spot.connector.write(spot.path, slow(name), size_bytes=size_bytes)

            writing = [asyncio.ensure_future(write(f"long{n}", None)) for n in range(12)]
            short = asyncio.ensure_future(write("short", 1))
            while len(begun) < SOURCE_UPLOADS_MAX + 1:
                await asyncio.sleep(0)
            # Those that wait have not been asked for a byte.
            assert "short" in begun
            assert len(begun) == SOURCE_UPLOADS_MAX + 1
            go_on.set()
            await asyncio.gather(short, *writing)
            spot = await w.spot("dropbox://")
            assert len((await spot.connector.page(())).files) == 13

    asyncio.run(check())


def test_an_endpoint_that_may_not_be_reached_any_more_is_not_asked(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            w.sources = w.with_reach(Reach())
            spot = await w.spot("dropbox://file")
            with pytest.raises(SourceFailed, match="may not be reached"):
                await spot.connector.stat(spot.path)

    asyncio.run(check())


def test_credentials_under_a_key_that_is_lost_are_our_failure(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            w.sources = w.with_reach(ALLOWED, Seal({"k": b"other" + b"k" * 27}, current="k"))
            spot = await w.spot("dropbox://file")
            with pytest.raises(InternalError):
                await spot.connector.stat(spot.path)

    asyncio.run(check())


def test_connectors_of_an_organization_are_its_owners_to_manage(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            connector_id = await w.create("lab")
            bob = w.site.principal("bob")
            with pytest.raises(NotAuthorized):
                await w.connectors.connector(bob, "lab", connector_id)
            await w.site.set_role("lab", "bob", Role.OWNER)
            found = await w.connectors.connector(w.site.principal("bob"), "lab", connector_id)

            assert found.owner.username == "lab"
            # They are the organization's: its members do not use them as their own.
            with pytest.raises(NotFound):
                await w.spot("dropbox://", who="bob")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("secret", "for_writing", "is_allowed"),
    [
        ("jane-key", True, True),
        ("reading-key", False, True),
        ("reading-key", True, False),
        ("no-data-key", False, False),
        ("admin-key", False, False),
    ],
)
def test_what_a_key_restricts_it_restricts_inside_algorithms_too(
    tmp_path, secret, for_writing, is_allowed
):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            outside = w.site.directory.principal_of_key(secret)
            acting = w.site.inside("jane").acting
            for principal in (outside, replace(outside, acting=acting)):
                asking = w.sources.spot(
                    principal, DataUri.parse("dropbox://file"), for_writing=for_writing
                )
                if is_allowed:
                    assert (await asking).path == ("file",)
                else:
                    with pytest.raises(NotAuthorized):
                        await asking

    asyncio.run(check())


def test_an_account_has_so_many_connectors_and_no_more(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            connector_id = await w.create(is_default=False)
            owned = await w.connectors.connector(w.site.principal("jane"), "jane", connector_id)
            async with w.site.database.transaction() as connection:
                for number in range(CONNECTORS_PER_ACCOUNT_MAX - 1):
                    other = replace(owned.connector, connector_id=f"{number}", label=f"{number}")
                    await rows.add_connector(connection, other)
            with pytest.raises(TooManyRequests):
                await w.create(is_default=False)

    asyncio.run(check())


def test_two_changes_at_once_both_count(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            connector_id = await w.create()
            jane = w.site.principal("jane")
            await asyncio.gather(
                w.connectors.change(jane, "jane", connector_id, Description(label="both")),
                w.connectors.change(jane, "jane", connector_id, Description(path="folder/*")),
                w.connectors.change(jane, "jane", connector_id, Description(is_writeable=False)),
            )
            found = (await w.connectors.connector(jane, "jane", connector_id)).connector

            assert (found.label, found.path, found.is_writeable) == ("both", "folder/*", False)
            assert w.sources.unsealed(found) == w.dropbox.credentials

    asyncio.run(check())


def test_a_file_that_is_opened_by_its_path_is_all_that_is_open(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            await w.create()
            await w.put("folder/file", b"0123456789")
            await w.put("folder/other", b"x")
            await w.create(path="folder/file", is_default=False, label="one")
            spot = await w.spot("dropbox+one://folder/file", for_writing=True)
            part = await spot.connector.open(spot.path, span=Span(start=2, end=4))
            assert b"".join([chunk async for chunk in part.chunks()]) == b"23"
            await part.close()

            for path in ((), ("folder",), ("folder", "other")):
                with pytest.raises(NotAuthorized):
                    await spot.connector.stat(path)
                with pytest.raises(NotAuthorized):
                    await spot.connector.page(path)
                with pytest.raises(NotAuthorized):
                    await spot.connector.delete(path, is_forced=True)

    asyncio.run(check())


def test_credentials_stay_with_their_endpoint(tmp_path):
    async def check():
        async with world(tmp_path) as w:
            connector_id = await w.create()
            jane = w.site.principal("jane")
            for changed in ({"endpoint": "https://127.0.0.1:1"}, {"ca_certificate": ""}):
                options = ConnectorOptions(**{**w.dropbox.options, **changed})
                with pytest.raises(InvalidInput, match="cred_data"):
                    await w.connectors.change(
                        jane, "jane", connector_id, Description(options=options)
                    )

    asyncio.run(check())
