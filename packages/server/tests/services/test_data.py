"""Who may do what at which place, with the service itself."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from data_site import running_site

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.domain.errors import (
    AlreadyExists,
    InvalidInput,
    NotAuthorized,
    NotFound,
    PathNotFound,
    TooLarge,
)
from algorium_server.domain.identity import Role
from algorium_server.services.files.data import Listing
from algorium_server.store.database import sqlite_url


@pytest.fixture
def site(sqlite_file, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(sqlite_url(sqlite_file), tmp_path / "blobs", serves=False)
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


class Person:
    """Somebody using the Data API without HTTP."""

    def __init__(self, site, runner, principal):
        self.site, self.runner, self.principal = site, runner, principal
        self.data = site.data

    def _run(self, work):
        return self.runner.run(work)

    def mkdir(self, parent, name, acl=ReadAcl.MY_ALGORITHMS):
        return str(
            self._run(
                self.data.create_directory(
                    self.principal, DataUri.parse(parent), name=name, acl=acl
                )
            )
        )

    def put(self, uri, data=b"x", size_bytes=None):
        async def chunks():
            yield data

        stored = self._run(
            self.data.put(self.principal, DataUri.parse(uri), chunks(), size_bytes=size_bytes)
        )
        return str(stored.uri)

    def read(self, uri):
        async def work():
            file = await self.data.get(self.principal, DataUri.parse(uri))
            assert not isinstance(file, Listing)
            data = b"".join([chunk async for chunk in file.chunks()])
            await file.close()
            return data

        return self._run(work())

    def ls(self, uri):
        found = self._run(self.data.get(self.principal, DataUri.parse(uri)))
        assert isinstance(found, Listing)
        return [*found.page.folders, *(entry.name for entry in found.page.files)]

    def stat(self, uri):
        return self._run(self.data.stat(self.principal, DataUri.parse(uri)))

    def set_acl(self, uri, acl):
        self._run(self.data.set_acl(self.principal, DataUri.parse(uri), acl))

    def rm(self, uri, *, is_forced=False):
        return self._run(self.data.delete(self.principal, DataUri.parse(uri), is_forced=is_forced))


@pytest.fixture
def person(site, runner):
    return lambda name: Person(site, runner, site.principal(name))


@pytest.fixture
def inside(site, runner):
    """Return somebody as an algorithm acts for it."""
    return lambda name, algorithm=None, **options: Person(
        site, runner, site.inside(name, algorithm, **options)
    )


@pytest.fixture
def jane(person):
    return person("jane")


@pytest.fixture
def bob(person):
    return person("bob")


def test_the_root_lists_the_caller_first_then_its_organizations(jane, bob, inside):
    assert jane.ls("data://") == ["jane", "lab"]
    assert bob.ls("data://") == ["bob", "lab"]
    assert inside("bob").ls("data://") == ["bob", "lab"]


def test_my_is_the_caller_also_inside_an_algorithm(jane, inside):
    jane.mkdir("data://.my", "c")
    jane.put("data://.my/c/f", b"hers")

    assert inside("jane").read("data://.my/c/f") == b"hers"
    with pytest.raises(PathNotFound):
        inside("bob").read("data://.my/c/f")


def test_answers_name_the_owner_as_asked(jane):
    assert jane.mkdir("data://.my", "c") == "data://.my/c"
    assert jane.mkdir("data://JANE", "d") == "data://jane/d"
    assert jane.put("data://.my/C/f") == "data://.my/c/f"
    assert jane.put("data://Jane/C/f") == "data://jane/c/f"


def test_names_of_owners_and_collections_have_no_case_but_files_do(jane):
    jane.mkdir("data://.my", "Images")
    jane.put("data://jane/images/Cat", b"x")

    assert jane.read("data://JANE/IMAGES/Cat") == b"x"
    with pytest.raises(AlreadyExists, match=r"^directory already exists$"):
        jane.mkdir("data://.my", "IMAGES")
    with pytest.raises(PathNotFound):
        jane.read("data://jane/images/cat")


# Who may read and write collections of accounts

ACLS = [ReadAcl.PRIVATE, ReadAcl.MY_ALGORITHMS, ReadAcl.PUBLIC]


@pytest.mark.parametrize("acl", ACLS)
def test_an_owner_reads_and_writes_with_every_acl(jane, inside, site, acl):
    jane.mkdir("data://.my", "c", acl)
    for who in (jane, inside("jane"), inside("jane", site.secret)):
        who.put("data://jane/c/f", b"x")
        assert who.read("data://jane/c/f") == b"x"
        assert who.ls("data://jane") == ["c"]


@pytest.mark.parametrize("acl", ACLS)
def test_a_stranger_reads_what_is_public(jane, bob, acl):
    jane.mkdir("data://.my", "c", acl)
    jane.put("data://.my/c/f", b"x")

    if acl is ReadAcl.PUBLIC:
        assert bob.read("data://jane/c/f") == b"x"
        assert bob.ls("data://jane/c") == ["f"]
        assert bob.stat("data://jane/c").is_directory
        assert bob.ls("data://jane") == ["c"]
        return
    assert bob.ls("data://jane") == []
    for work in (bob.read, bob.stat, bob.ls):
        with pytest.raises(NotAuthorized):
            work("data://jane/c/f")
    with pytest.raises(NotAuthorized):
        bob.ls("data://jane/c")


def test_the_owners_algorithms_read_for_anybody_unless_it_is_private(jane, inside, site):
    jane.mkdir("data://.my", "c", ReadAcl.MY_ALGORITHMS)
    jane.put("data://.my/c/f", b"x")
    hers, others = inside("bob", site.secret), inside("bob", site.hello)

    assert hers.read("data://jane/c/f") == b"x"
    with pytest.raises(NotAuthorized):
        others.read("data://jane/c/f")
    jane.set_acl("data://.my/c", ReadAcl.PRIVATE)
    with pytest.raises(NotAuthorized):
        hers.read("data://jane/c/f")


@pytest.mark.parametrize("acl", ACLS)
def test_a_stranger_writes_nothing(jane, bob, inside, site, acl):
    jane.mkdir("data://.my", "c", acl)
    jane.put("data://.my/c/f", b"hers")

    for stranger in (bob, inside("bob", site.secret)):
        for work in (
            lambda who: who.put("data://jane/c/f", b"his"),
            lambda who: who.put("data://jane/c/g", b"his"),
            lambda who: who.rm("data://jane/c/f"),
            lambda who: who.rm("data://jane/c", is_forced=True),
            lambda who: who.set_acl("data://jane/c", ReadAcl.PUBLIC),
            lambda who: who.mkdir("data://jane", "d"),
        ):
            with pytest.raises(NotAuthorized):
                work(stranger)
    assert jane.read("data://.my/c/f") == b"hers"


def test_members_of_an_organization_write_and_executors_read(jane, bob, runner, site):
    assert jane.mkdir("data://lab", "c", ReadAcl.PRIVATE) == "data://lab/c"
    jane.put("data://lab/c/f", b"x")

    assert bob.read("data://lab/c/f") == b"x"
    with pytest.raises(NotAuthorized):
        bob.put("data://lab/c/f")

    runner.run(site.set_role("lab", "bob", Role.MEMBER))
    member = Person(site, runner, site.principal("bob"))
    member.put("data://lab/c/f", b"his")
    assert jane.read("data://lab/c/f") == b"his"


def test_a_role_that_ends_during_an_upload_ends_the_upload(jane, runner, site):
    jane.mkdir("data://lab", "c")

    async def chunks():
        yield b"half"
        await site.set_role("lab", "jane", None)
        yield b"other half"

    with pytest.raises(NotAuthorized):
        runner.run(site.data.put(jane.principal, DataUri.parse("data://lab/c/f"), chunks()))
    assert site.blob_files() == []


# Checked before the first byte


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("data://", InvalidInput),
        ("data://.my", InvalidInput),
        ("data://jane", InvalidInput),
        ("data://jane/c", InvalidInput),
        ("data://jane/c/f/g", InvalidInput),
        ("data://jane/c/" + "x" * 256, InvalidInput),
        ("data://.session", InvalidInput),
        ("data://.algo/lab/Hello", InvalidInput),
        ("data://.algo/lab/Hello/temp", InvalidInput),
        ("data://.algo/temp/f", InvalidInput),
        ("data://.algo/default/f", InvalidInput),
        ("data://.algo/lab", PathNotFound),
        ("data://.session/f", PathNotFound),
        ("data://jane/absent/f", PathNotFound),
        ("data://nobody/c/f", PathNotFound),
        ("data://.algo/lab/absent/temp/f", PathNotFound),
        ("data://bob/his/f", NotAuthorized),
        ("s3://bucket/key", NotFound),
        ("dropbox+label://f", NotFound),
    ],
)
def test_an_upload_that_cannot_be_is_refused_before_it_is_read(site, jane, bob, runner, uri, error):
    jane.mkdir("data://.my", "c")
    bob.mkdir("data://.my", "his", ReadAcl.PUBLIC)

    async def never_read():
        raise AssertionError("the body must not be read")
        yield b""

    with pytest.raises(error) as caught:
        runner.run(site.data.put(jane.principal, DataUri.parse(uri), never_read()))
    assert type(caught.value) is error
    assert site.blob_files() == []


@pytest.mark.parametrize("uri", ["s3://bucket/key", "gs+label://b", "azureblob://x", "dropbox://"])
def test_sources_that_are_not_connected_are_not_found(jane, uri):
    for work in (jane.read, jane.stat, jane.put, jane.rm):
        with pytest.raises(NotFound, match=r"^connector not found$"):
            work(uri)


def test_the_longest_file_is_limited_if_so_configured(sqlite_file, tmp_path, runner):
    async def scenario():
        async with running_site(
            sqlite_url(sqlite_file), tmp_path / "blobs", file_bytes_max=10, serves=False
        ) as site:
            jane, parent = site.principal("jane"), DataUri.parse("data://.my")
            await site.data.create_directory(jane, parent, name="c", acl=ReadAcl.PRIVATE)
            uri = DataUri.parse("data://.my/c/f")

            async def chunks(*sizes):
                for size in sizes:
                    yield bytes(size)

            await site.data.put(jane, uri, chunks(10), size_bytes=10)
            with pytest.raises(TooLarge):
                await site.data.put(jane, uri, chunks(11), size_bytes=11)
            with pytest.raises(TooLarge):
                await site.data.put(jane, uri, chunks(10, 1))
            return (await site.data.stat(jane, uri)).size_bytes, len(site.blob_files())

    assert runner.run(scenario()) == (10, 0)


# Directories


@pytest.mark.parametrize("parent", ["data://", "data://jane/c", "data://jane/c/f"])
def test_there_are_no_directories_elsewhere(jane, parent):
    with pytest.raises(InvalidInput):
        jane.mkdir(parent, "d")


@pytest.mark.parametrize("parent", ["data://.session", "data://.algo/lab/Hello"])
def test_special_places_hold_no_directories(inside, parent):
    with pytest.raises(InvalidInput):
        inside("jane").mkdir(parent, "d")


def test_the_owner_of_a_directory_must_exist(jane):
    with pytest.raises(PathNotFound):
        jane.mkdir("data://nobody", "c")


@pytest.mark.parametrize("name", ["", ".my", "a b", "a-b", "1a", "_a", "ü", "a/b", "x" * 101])
def test_a_directory_cannot_be_called_anything(jane, name):
    with pytest.raises(InvalidInput):
        jane.mkdir("data://.my", name)


def test_a_directory_may_have_a_long_name(jane):
    name = "RTest_directoryACLUpdatePermissions" + "x" * 65

    assert jane.mkdir("data://.my", name) == f"data://.my/{name}"


@pytest.mark.parametrize(
    "uri", ["data://", "data://.my", "data://jane/c/f", "data://.algo/lab/Hello/temp"]
)
def test_only_collections_have_acls(jane, uri):
    with pytest.raises(InvalidInput, match=r"^ACLs are not supported for this path$"):
        jane.set_acl(uri, ReadAcl.PUBLIC)


def test_the_acl_of_a_missing_collection_is_not_found(jane):
    with pytest.raises(PathNotFound):
        jane.set_acl("data://.my/absent", ReadAcl.PUBLIC)


@pytest.mark.parametrize("uri", ["data://", "data://.my", "data://jane", "data://.algo/lab/Hello"])
def test_what_is_no_collection_cannot_be_deleted(jane, uri):
    with pytest.raises(InvalidInput):
        jane.rm(uri, is_forced=True)


@pytest.mark.parametrize("uri", ["data://jane/c", "data://jane/c/f/g", "data://.algo/x"])
def test_what_is_not_there_cannot_be_deleted(jane, uri):
    with pytest.raises(PathNotFound):
        jane.rm(uri, is_forced=True)


def test_the_callers_collections_and_those_of_its_organizations(jane, bob, runner, site):
    jane.mkdir("data://.my", "b")
    jane.mkdir("data://.my", "a")
    jane.mkdir("data://lab", "shared", ReadAcl.PRIVATE)
    owned = runner.run(site.data.collections(bob.principal))
    mine = runner.run(site.data.collections(jane.principal))

    assert [(o.owner.username, o.collection.name) for o in owned] == [("lab", "shared")]
    assert [(o.owner.username, o.collection.name) for o in mine] == [
        ("jane", "a"),
        ("jane", "b"),
        ("lab", "shared"),
    ]


# Collections of algorithms


@pytest.mark.parametrize("kind", ["temp", "perm"])
def test_a_collection_of_an_algorithm_always_exists(jane, inside, kind):
    uri = f"data://.algo/lab/Hello/{kind}"

    assert jane.ls(uri) == []
    assert jane.stat(uri).is_directory
    assert inside("jane").ls(f"data://.algo/{kind}") == []
    assert jane.ls("data://.algo/LAB/hello") == ["perm", "temp"]


@pytest.mark.parametrize("kind", ["temp", "perm"])
def test_an_algorithm_and_its_caller_share_a_collection(jane, inside, kind):
    algorithm = inside("jane")

    shown = algorithm.put(f"data://.algo/{kind}/f", b"for jane")
    assert shown == f"data://.algo/lab/Hello/{kind}/f"
    assert jane.read(shown) == b"for jane"
    assert jane.put(f"data://.algo/lab/hello/{kind}/g", b"for it") == (
        f"data://.algo/lab/Hello/{kind}/g"
    )
    assert algorithm.read(f"data://.algo/{kind}/g") == b"for it"
    assert algorithm.ls(f"data://.algo/{kind}") == ["f", "g"]
    assert jane.rm(shown) == 1
    with pytest.raises(InvalidInput):
        jane.rm(f"data://.algo/lab/Hello/{kind}", is_forced=True)


@pytest.mark.parametrize("kind", ["temp", "perm"])
def test_callers_never_see_each_others_collections(jane, bob, inside, kind):
    inside("jane").put(f"data://.algo/{kind}/f", b"hers")

    for other in (inside("bob"), bob):
        assert other.ls(f"data://.algo/lab/Hello/{kind}") == []
        with pytest.raises(PathNotFound):
            other.read(f"data://.algo/lab/Hello/{kind}/f")


@pytest.mark.parametrize("kind", ["temp", "perm"])
def test_another_algorithm_does_not_see_the_collection(inside, site, kind):
    inside("jane").put(f"data://.algo/{kind}/f", b"x")
    other = inside("jane", site.secret)

    for work in (other.read, other.stat, other.put, other.rm):
        with pytest.raises(PathNotFound):
            work(f"data://.algo/lab/Hello/{kind}/f")
    assert other.ls(f"data://.algo/{kind}") == []


def test_an_algorithm_that_is_hidden_from_the_caller_has_no_collections(jane, bob, inside, site):
    assert jane.ls("data://.algo/jane/Secret/perm") == []
    assert jane.ls("data://.algo/.my/Secret/perm") == []
    for uri in ("data://.algo/jane/Secret", "data://.algo/jane/Secret/perm"):
        with pytest.raises(PathNotFound):
            bob.ls(uri)
    # One that acts for the caller all the same may store its files.
    assert inside("bob", site.secret).ls("data://.algo/perm") == []


@pytest.mark.parametrize("kind", ["temp", "perm", "default"])
def test_the_short_form_has_no_meaning_outside_algorithms(jane, kind):
    for uri in (f"data://.algo/{kind}", f"data://.algo/{kind}/f"):
        for work in (jane.stat, jane.ls, jane.put):
            with pytest.raises(InvalidInput):
                work(uri)


def test_no_default_collection_has_been_assigned(inside):
    for uri in ("data://.algo/default", "data://.algo/default/f"):
        with pytest.raises(PathNotFound):
            inside("jane").stat(uri)


# Sessions


def test_the_algorithms_of_a_call_tree_share_a_session(inside, site):
    parent, child = inside("jane"), inside("jane", site.secret)
    assert parent.ls("data://.session") == []
    assert parent.stat("data://.session").is_directory

    assert parent.put("data://.session/f", b"x") == "data://.session/f"
    assert child.read("data://.session/f") == b"x"
    assert child.rm("data://.session/f") == 1
    with pytest.raises(InvalidInput):
        child.rm("data://.session", is_forced=True)


def test_a_session_is_seen_by_nobody_else(jane, inside):
    inside("jane").put("data://.session/f", b"x")

    assert inside("jane", tree_id="req-2").ls("data://.session") == []
    assert inside("bob").ls("data://.session") == []
    for uri in ("data://.session", "data://.session/f"):
        with pytest.raises(PathNotFound):
            jane.stat(uri)


def test_a_session_ends_with_its_tree(inside, runner, site):
    other = b"other" * 10_000  # too long for its row
    inside("jane").put("data://.session/f", b"x" * 50_000)
    inside("jane", tree_id="req-2").put("data://.session/f", other)
    runner.run(site.data.end_session("req-1"))
    assert site.data.end_session("req-1") is None
    assert site.data.end_session("unknown") is None

    assert inside("jane").ls("data://.session") == []
    assert inside("jane", tree_id="req-2").read("data://.session/f") == other
    assert len(site.blob_files()) == 1


def test_an_upload_after_the_end_of_its_session_is_not_found(inside, runner, site):
    principal = inside("jane").principal

    async def chunks():
        yield b"half"
        await site.data.end_session("req-1")

    with pytest.raises(PathNotFound):
        runner.run(site.data.put(principal, DataUri.parse("data://.session/f"), chunks()))
    assert inside("jane").ls("data://.session") == []
    assert site.blob_files() == []


def test_many_first_files_of_a_session_find_together(inside, runner, site):
    principal = inside("jane").principal

    async def put(number):
        async def chunks():
            yield b"x"

        await site.data.put(principal, DataUri.parse(f"data://.session/{number}"), chunks())

    async def together():
        await asyncio.gather(*(put(number) for number in range(10)))

    runner.run(together())
    assert len(inside("jane").ls("data://.session")) == 10
