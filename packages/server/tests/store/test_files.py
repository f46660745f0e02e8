"""Collections and files on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from algorium.wire.bodies import ReadAcl
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.errors import AlreadyExists, InvalidInput, PathNotFound
from algorium_server.domain.names import check_file_name
from algorium_server.store import accounts, algorithms, columns, files
from algorium_server.store.database import Database
from algorium_server.store.tables.files import files as files_table

JANE = rows.account("jane")
JOE = rows.account("joe")
HELLO = rows.algorithm(JANE.account_id)
IMAGES = rows.collection(JANE.account_id, "Images")

AWKWARD_NAMES = [
    "a",
    "B",
    "a.txt",
    "A.txt",
    "Ä.png",
    "a\N{COMBINING DIAERESIS}.png",
    "\N{LATIN SMALL LETTER A WITH DIAERESIS}.png",
    "Пароход.png",
    "日本.txt",
    "\N{GRINNING FACE}.png",
    "\ue000",
    "\uffff",
    "\x01",
    "-",
    "_",
    " ",
    "  ",
    "%41",
    "tab\there",
    "line\nbreak",
    "'quoted'",
    '"',
    "\\",
    "..x",
    "x" * 255,
]


def is_file_name(name: str) -> bool:
    try:
        check_file_name(name)
    except InvalidInput:
        return False
    return True


FILE_NAMES = st.text(
    st.one_of(st.sampled_from("aAäÄzZ_-. \x01~\uffff\U0001f600"), st.characters(codec="utf-8")),
    max_size=8,
).filter(is_file_name)


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    async def add_owners():
        async with database.transaction() as connection:
            await accounts.add_account(connection, JANE)
            await accounts.add_account(connection, JOE)
            await algorithms.add_algorithm(connection, HELLO)
            await files.add_collection(connection, IMAGES)

    runner.run(add_owners())
    return database


def test_a_collection_is_found_in_any_case_by_its_owner_only(
    owned: Database, runner: asyncio.Runner
):
    async def scenario():
        async with owned.reading() as connection:
            return [
                await files.collection(connection, owner_id=owner.account_id, name=name)
                for owner, name in (
                    (JANE, "Images"),
                    (JANE, "iMAGES"),
                    (JOE, "Images"),
                    (JANE, "image"),
                    (JANE, "Images\0"),
                    (JANE, "\ud800"),
                )
            ]

    assert runner.run(scenario()) == [IMAGES, IMAGES, None, None, None, None]


def test_collection_names_are_unique_whatever_their_case(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            with pytest.raises(AlreadyExists, match="directory already exists"):
                await files.add_collection(connection, rows.collection(JANE.account_id, "IMAGES"))
            await files.add_collection(connection, rows.collection(JOE.account_id, "images"))
            await files.add_collection(connection, rows.collection(JANE.account_id, "_b"))
            await files.add_collection(connection, rows.collection(JANE.account_id, "Za"))
        async with owned.reading() as connection:
            found = await files.collections_of(connection, JANE.account_id)
            return [collection.name for collection in found]

    assert runner.run(scenario()) == ["_b", "Images", "Za"]


def special(kind: CollectionKind, owner=JANE, **fields):
    name = fields.pop("name", kind.value)
    if kind is not CollectionKind.SESSION:
        fields["algorithm_id"] = HELLO.algorithm_id
    return rows.collection(owner.account_id, name, kind=kind, **fields)


def test_special_collections_are_told_apart_and_not_listed(owned: Database, runner: asyncio.Runner):
    known = [
        special(CollectionKind.TEMP),
        special(CollectionKind.PERM),
        special(CollectionKind.PERM, JOE),
        special(CollectionKind.SESSION, name="req-1"),
        special(CollectionKind.SESSION, name="req-2"),
    ]

    async def scenario():
        async with owned.transaction() as connection:
            for collection in known:
                await files.add_collection(connection, collection)
            for collection in known:
                with pytest.raises(AlreadyExists):
                    await files.add_collection(
                        connection, replace(collection, collection_id=rows.new_id())
                    )
        async with owned.reading() as connection:
            found = [
                await files.special_collection(
                    connection,
                    kind=each.kind,
                    owner_id=each.owner_id,
                    algorithm_id=each.algorithm_id,
                    name=each.name,
                )
                for each in known
            ]
            return found, await files.collections_of(connection, JANE.account_id)

    assert runner.run(scenario()) == (known, [IMAGES])


def test_old_special_collections_are_found(owned: Database, runner: asyncio.Runner):
    older = special(
        CollectionKind.SESSION, name="req-0", created_at=rows.NOW - timedelta(seconds=2)
    )
    old = special(CollectionKind.SESSION, name="req-1", created_at=rows.NOW - timedelta(seconds=1))
    temp = special(CollectionKind.TEMP, created_at=rows.NOW - timedelta(days=9))
    new = special(CollectionKind.SESSION, name="req-2")

    async def scenario():
        async with owned.transaction() as connection:
            for collection in (new, old, temp, older):
                await files.add_collection(connection, collection)
        async with owned.reading() as connection:
            return await files.special_collections_before(
                connection, kind=CollectionKind.SESSION, created_before=rows.NOW
            )

    assert runner.run(scenario()) == [older, old]


def test_the_acl_changes(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            await files.set_acl(connection, collection_id=IMAGES.collection_id, acl=ReadAcl.PUBLIC)
            with pytest.raises(PathNotFound):
                await files.set_acl(connection, collection_id=rows.new_id(), acl=ReadAcl.PUBLIC)
        async with owned.reading() as connection:
            return await files.collections_of(connection, JANE.account_id)

    assert runner.run(scenario()) == [replace(IMAGES, acl=ReadAcl.PUBLIC)]


def test_a_file_is_put_replaced_and_deleted(owned: Database, runner: asyncio.Runner):
    first = rows.file(IMAGES.collection_id, size_bytes=2**40)
    second = rows.file(IMAGES.collection_id, modified_at=rows.NOW + timedelta(seconds=1))
    at = {"collection_id": IMAGES.collection_id, "name": first.name}

    async def scenario():
        async with owned.transaction() as connection:
            yield await files.put_file(connection, first)
            yield await files.file(connection, **at)
            yield await files.put_file(connection, second)
            yield await files.file(connection, **at)
            yield await files.delete_file(connection, **at)
            yield await files.delete_file(connection, **at)
            yield await files.file(connection, **at)

    async def collected():
        return [answer async for answer in scenario()]

    assert runner.run(collected()) == [None, first, first.blob, second, second.blob, None, None]


def test_names_that_cannot_be_stored_name_nothing(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            for name in ("a\0", "\ud800", ""):
                at = {"collection_id": IMAGES.collection_id, "name": name}
                assert await files.file(connection, **at) is None
                assert await files.delete_file(connection, **at) is None

    runner.run(scenario())


def test_file_names_sort_by_their_bytes(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            for name in AWKWARD_NAMES:
                assert (
                    await files.put_file(connection, rows.file(IMAGES.collection_id, name)) is None
                )
        async with owned.reading() as connection:
            listed = await files.files_of(
                connection, collection_id=IMAGES.collection_id, after="", limit=100
            )
            return [file.name for file in listed]

    assert runner.run(scenario()) == sorted(AWKWARD_NAMES, key=str.encode)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    names=st.sets(FILE_NAMES, max_size=12),
    marker=st.one_of(FILE_NAMES, st.text(st.sampled_from("aA\0\x01ä"), max_size=4)),
    limit=st.integers(1, 5),
)
def test_pages_together_are_the_sorted_names(owned, runner, names, marker, limit):
    async def scenario():
        async with owned.transaction() as connection:
            await connection.execute(delete(files_table))
            for name in names:
                await files.put_file(connection, rows.file(IMAGES.collection_id, name))
        async with owned.reading() as connection:
            listed, after = [], ""
            while page := await files.files_of(
                connection, collection_id=IMAGES.collection_id, after=after, limit=limit
            ):
                assert len(page) <= limit
                listed += [file.name for file in page]
                after = listed[-1]
            rest = await files.files_of(
                connection, collection_id=IMAGES.collection_id, after=marker, limit=100
            )
            return listed, [file.name for file in rest]

    listed, rest = runner.run(scenario())

    assert listed == sorted(names, key=str.encode)
    assert rest == [name for name in listed if name.encode() > marker.encode()]


def test_a_file_needs_its_collection(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            await files.put_file(connection, rows.file(rows.new_id()))

    with pytest.raises(PathNotFound):
        runner.run(scenario())


def test_a_collection_goes_with_its_files_and_names_their_blobs(
    owned: Database, runner: asyncio.Runner
):
    put = [rows.file(IMAGES.collection_id, name) for name in "abc"]

    async def scenario():
        async with owned.transaction() as connection:
            for file in put:
                await files.put_file(connection, file)
            counted = await files.count_files(connection, IMAGES.collection_id)
        async with owned.transaction() as connection:
            blobs = await files.delete_collection(connection, IMAGES.collection_id)
        async with owned.transaction() as connection:
            with pytest.raises(PathNotFound):
                await files.delete_collection(connection, IMAGES.collection_id)
            left = await connection.scalar(select(func.count()).select_from(files_table))
        return counted, sorted(blobs), left

    assert runner.run(scenario()) == (3, sorted(file.blob for file in put), 0)


def test_racing_uploads_account_for_every_blob(owned: Database, runner: asyncio.Runner):
    versions = [rows.file(IMAGES.collection_id) for _ in range(30)]

    async def put(file) -> str | None:
        async with owned.transaction() as connection:
            return await files.put_file(connection, file)

    async def scenario():
        replaced = await asyncio.gather(*map(put, versions))
        async with owned.reading() as connection:
            left = await files.file(
                connection, collection_id=IMAGES.collection_id, name=versions[0].name
            )
        return [blob for blob in replaced if blob is not None], left

    replaced, left = runner.run(scenario())

    assert sorted([*replaced, left.blob]) == sorted(file.blob for file in versions)


def test_no_acknowledged_file_vanishes_with_an_empty_collection(
    owned: Database, runner: asyncio.Runner
):
    async def delete_if_empty(collection) -> bool:
        async with owned.transaction() as connection:
            await files.lock_collection(connection, collection.collection_id)
            if await files.count_files(connection, collection.collection_id):
                return False
            await files.delete_collection(connection, collection.collection_id)
            return True

    async def put(collection) -> bool:
        try:
            async with owned.transaction() as connection:
                await files.put_file(connection, rows.file(collection.collection_id))
        except PathNotFound:
            return False
        return True

    async def race(number: int) -> tuple[bool, bool]:
        collection = rows.collection(JANE.account_id, f"c{number}")
        async with owned.transaction() as connection:
            await files.add_collection(connection, collection)
        order = [put(collection), delete_if_empty(collection)]
        results = await asyncio.gather(*(order if number % 2 else reversed(order)))
        return tuple(results if number % 2 else reversed(results))

    async def scenario():
        return [await race(number) for number in range(20)]

    assert all(was_put != was_deleted for was_put, was_deleted in runner.run(scenario()))


def test_every_blob_key_is_yielded_once(owned: Database, runner: asyncio.Runner):
    put = [rows.file(IMAGES.collection_id, f"{number}") for number in range(2500)]

    async def scenario():
        async with owned.transaction() as connection:
            await connection.execute(files_table.insert(), [columns.row_of(file) for file in put])
        async with owned.reading() as connection:
            return [key async for key in files.blob_keys(connection)]

    assert sorted(runner.run(scenario())) == sorted(file.blob for file in put)
