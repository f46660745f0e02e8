"""
Every principal, with every kind of key, at every kind of place, doing everything: allowed or not.

What is expected is written here once more, from the specification and not from the code: "Special
names and who may do what", "ACLs", "API keys". A case that the two see differently fails.
"""

import itertools
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest
import rows
from data_site import running_site

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.domain.errors import InvalidInput, NotAuthorized, NotFound
from algorium_server.domain.identity import KeyKind, KeyPermissions, Role
from algorium_server.services.files.data import Listing
from algorium_server.services.files.defaults import DefaultCollections
from algorium_server.store.database import sqlite_url

DENIED = (NotAuthorized, NotFound, InvalidInput)
READING, WRITING = ("list", "head", "read"), ("put", "delete", "set acl", "begin upload")
BOTH = ("copy away", "move away")
OPERATIONS = (*READING, *WRITING, *BOTH)


@dataclass(frozen=True)
class Key:
    name: str
    reads: bool
    writes: bool


KEYS = (
    Key("none shown", reads=True, writes=True),
    Key("all", reads=True, writes=True),
    Key("reading", reads=True, writes=False),
    Key("writing", reads=False, writes=True),
    Key("no data", reads=False, writes=False),
    Key("admin", reads=False, writes=False),
)


@dataclass(frozen=True)
class Who:
    """
    A principal: an account, its role in the organization `lab`, and the algorithm that it called.

    `Hello` belongs to lab and is public, `Secret` to jane and is not published.
    """

    account: str
    role: Role | None
    inside: str = ""


WHO = (
    Who("jane", Role.OWNER),
    Who("bob", None),
    Who("bob", Role.MEMBER),
    Who("bob", Role.EXECUTOR),
    Who("jane", Role.OWNER, "Hello"),
    Who("jane", Role.OWNER, "Secret"),
    Who("bob", None, "Hello"),
    Who("bob", None, "Secret"),
)


@dataclass(frozen=True)
class Place:
    """A collection; `owner` and `acl` are those of collections of accounts."""

    uri: str
    owner: str = ""
    acl: ReadAcl | None = None


ACLS = {"closed": ReadAcl.PRIVATE, "usual": ReadAcl.MY_ALGORITHMS, "open": ReadAcl.PUBLIC}
PLACES = (
    *(
        Place(f"data://{owner}/{name}", owner, acl)
        for owner in ("jane", "lab")
        for name, acl in ACLS.items()
    ),
    Place("data://.algo/lab/Hello/temp"),
    Place("data://.algo/lab/Hello/perm"),
    Place("data://.algo/temp"),
    Place("data://.session"),
    Place("data://.algo/default"),
)
ALGORITHM_OWNERS = {"Hello": "lab", "Secret": "jane"}
DEFAULTS = {"Hello": "jane/closed", "Secret": "jane/open"}
"""What each algorithm calls its default collection; jane may give Hello one of hers."""


def is_expected(who, key, place, operation):
    reads, writes = operation in (*READING, *BOTH), operation in (*WRITING, *BOTH)
    if operation in BOTH and not key.writes:
        return False  # whatever the source, the target is an ordinary collection
    if place.acl is None:
        return _is_expected_at_special(who, key, place, operation, reads=reads, writes=writes)
    if (reads and not key.reads) or (writes and not key.writes):
        return False
    is_owner = who.account == place.owner
    role = who.role if place.owner == "lab" else None
    may_read = (
        is_owner
        or role is not None
        or place.acl is ReadAcl.PUBLIC
        or (place.acl is ReadAcl.MY_ALGORITHMS and ALGORITHM_OWNERS.get(who.inside) == place.owner)
    )
    may_write = is_owner or role in {Role.OWNER, Role.MEMBER}
    if operation == "copy away":
        return may_read
    return (may_read or not reads) and (may_write or not writes)


def _is_expected_at_special(who, key, place, operation, *, reads, writes):
    if operation == "set acl":
        return False
    if place.uri in {"data://.session", "data://.algo/temp"}:
        return bool(who.inside)
    if place.uri == "data://.algo/default":
        owner = DEFAULTS.get(who.inside, "").partition("/")[0]
        is_writable = owner == ALGORITHM_OWNERS.get(who.inside)
        return bool(who.inside) and (not writes or operation == "copy away" or is_writable)
    if who.inside:
        return who.inside == "Hello"
    return (key.reads or not reads) and (key.writes or not writes)


@pytest.fixture
def site(sqlite_file, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(sqlite_url(sqlite_file), tmp_path / "blobs", serves=False)
    site = runner.run(stack.enter_async_context(site))
    runner.run(furnish(site))
    yield site
    runner.run(stack.aclose())


async def furnish(site):
    jane = site.principal("jane")
    for owner in ("jane", "lab"):
        for name, acl in ACLS.items():
            await site.data.create_directory(jane, DataUri(segments=(owner,)), name=name, acl=acl)
    for name in ("jane", "bob"):
        await site.data.create_directory(
            site.principal(name), DataUri(segments=(".my",)), name="target", acl=ReadAcl.PRIVATE
        )
    owned = {
        f"{one.owner.username}/{one.collection.name}": one.collection.collection_id
        for one in await site.data.collections(jane)
    }
    defaults = DefaultCollections(site.database, site.directory)
    for algorithm in (site.hello, site.secret):
        await defaults.assign(
            jane,
            algorithm_id=algorithm.algorithm_id,
            collection_id=owned[DEFAULTS[algorithm.name]],
        )


def principal_of(site, who, key):
    algorithms = {"Hello": site.hello, "Secret": site.secret}
    if who.inside:
        principal = site.inside(who.account, algorithms[who.inside])
    else:
        principal = site.principal(who.account)
    if key.name == "none shown":
        return principal
    permissions = KeyPermissions(allow_data=key.reads, allow_data_write=key.writes)
    kind = KeyKind.STANDARD
    if key.name == "admin":
        kind, permissions = KeyKind.ADMIN, KeyPermissions(allow_data=True, allow_data_write=True)
    account_id = principal.account.account_id
    return replace(principal, key=rows.key(account_id, kind=kind, permissions=permissions))


async def pieces(data):
    yield data


def keeper_of(site, who, place):
    """Somebody who may put a file there for sure; None if there is no such place for *who*."""
    if place.acl is not None:
        return site.principal("jane"), DataUri.parse(place.uri)
    if place.uri.startswith("data://.algo/lab"):
        return site.principal(who.account), DataUri.parse(place.uri)
    if not who.inside:
        return None
    if place.uri == "data://.algo/default":
        return site.principal("jane"), DataUri.parse(f"data://{DEFAULTS[who.inside]}")
    return principal_of(site, who, KEYS[0]), DataUri.parse(place.uri)


async def attempt(site, principal, place, operation):
    data, collection = site.data, DataUri.parse(place.uri)
    file, target = collection.child("f"), DataUri.parse("data://.my/target/f")
    match operation:
        case "list":
            assert isinstance(await data.get(principal, collection), Listing)
        case "head":
            await data.stat(principal, file)
        case "read":
            opened = await data.get(principal, file)
            assert b"".join([chunk async for chunk in opened.chunks()]) == b"content"
            await opened.close()
        case "put":
            await data.put(principal, file, pieces(b"content"))
        case "delete":
            await data.delete(principal, file, is_forced=False)
        case "set acl":
            await data.set_acl(principal, collection, place.acl or ReadAcl.PUBLIC)
        case "begin upload":
            begun = await site.uploads.begin(principal, file)
            await site.uploads.abort(principal, begun.upload_id)
        case _:
            is_move = operation == "move away"
            await data.transfer(principal, file, target, is_move=is_move)


@pytest.mark.parametrize("who", WHO, ids=lambda who: f"{who.account}-{who.role}-{who.inside}")
def test_the_table_of_permissions(site, runner, who):
    async def scenario():
        await site.set_role("lab", "bob", who.role if who.account == "bob" else None)
        surprises = []
        for place in PLACES:
            keeper, is_there = keeper_of(site, who, place), False
            for key, operation in itertools.product(KEYS, OPERATIONS):
                if operation == "begin upload" and key.name not in {"all", "reading"}:
                    continue  # the same as "put", and slower
                if keeper is not None and not is_there:
                    await site.data.put(keeper[0], keeper[1].child("f"), pieces(b"content"))
                principal = principal_of(site, who, key)
                try:
                    await attempt(site, principal, place, operation)
                    is_allowed = True
                except DENIED:
                    is_allowed = False
                is_there = not (is_allowed and operation in {"delete", "move away"})
                if is_allowed != is_expected(who, key, place, operation):
                    surprises.append((place.uri, key.name, operation, is_allowed))
        return surprises

    assert runner.run(scenario()) == []
