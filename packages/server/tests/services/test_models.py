"""Model files of frozen manifests: fetched once, for those who may read them."""

import asyncio
import hashlib
import json
import os
from dataclasses import replace

import pytest
from rows import NOW, account

from algorium.wire.uris import DataUri
from algorium_server.data.connector import Entry
from algorium_server.data.models import ModelCache
from algorium_server.domain.errors import NotAuthorized, Unavailable
from algorium_server.domain.identity import ActingAlgorithm, Principal
from algorium_server.domain.limits import MIB
from algorium_server.services.authoring.models import Models

MODEL = b"weights " * (MIB // 4)
URI = DataUri.parse("s3+models://bucket/model.bin")
OTHER = DataUri.parse("s3+models://bucket/other.bin")


def md5(content):
    return hashlib.md5(content).hexdigest()


class OpenBytes:
    def __init__(self, entry, content):
        self.entry = entry
        self.size_bytes = len(content)
        self.modified_at = NOW
        self.content = content

    async def chunks(self):
        for start in range(0, len(self.content), MIB):
            await asyncio.sleep(0)
            yield self.content[start : start + MIB]

    async def close(self):
        pass


class Bucket:
    """Files far away: whoever is not denied may read them; counts how often they are."""

    def __init__(self):
        self.files = {str(URI): MODEL}
        self.denied = set()
        self.reads = 0
        self.is_down = False
        self.knows_md5 = True

    async def stat(self, principal, uri):
        if principal.account.username in self.denied:
            raise NotAuthorized
        content = self.files[str(uri)]
        known = md5(content)
        return Entry(
            name=uri.name,
            is_directory=False,
            size_bytes=len(content),
            modified_at=NOW,
            etag=f"etag-{known}",
            md5=known if self.knows_md5 else "",
        )

    async def get(self, principal, uri):
        entry = await self.stat(principal, uri)
        if self.is_down:
            raise Unavailable("the bucket does not answer")
        self.reads += 1
        return OpenBytes(entry, self.files[str(uri)])


class Site:
    def __init__(self, home, *, bytes_max=64 * MIB):
        self.home = home
        self.bucket = Bucket()
        self.cache = ModelCache(home / "models", bytes_max=bytes_max)
        self.models = Models(self.bucket, self.cache, builds_dir=home / "builds")
        self.owner, self.caller = account("owner"), account("caller")

    def freeze(self, build_id, files, *, kind="required_files"):
        tree = self.home / "builds" / build_id
        tree.mkdir(parents=True)
        listed = [
            {"name": str(n), "source_uri": str(uri), "md5_checksum": known}
            for n, (uri, known) in enumerate(files.items())
        ]
        manifest = {"required_files": [], "optional_files": [], kind: listed}
        (tree / "model_manifest.json.freeze").write_text(json.dumps(manifest))

    def inside(self, build_id, *, caller=None, owner=None):
        acting = ActingAlgorithm(
            algorithm_id="algorithm",
            owner_id=(owner or self.owner).account_id,
            tree_id="",
            deadline_at=0.0,
            depth=1,
            is_pipeline_enabled=True,
            build_id=build_id,
        )
        return Principal(account=caller or self.caller, acting=acting)

    async def read(self, principal, uri=URI):
        file = await self.models.open(principal, uri)
        if file is None:
            return None
        try:
            assert file.entry.name == uri.name
            return b"".join([piece async for piece in file.chunks()])
        finally:
            await file.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.cache.close()


def test_a_hundred_slots_fetch_a_file_once(site):
    site.freeze("b1", {URI: md5(MODEL)})
    site.freeze("b2", {URI: md5(MODEL).upper()}, kind="optional_files")

    async def story():
        both = [site.inside("b1"), site.inside("b2")] * 20
        assert set(await asyncio.gather(*map(site.read, both))) == {MODEL}
        assert site.bucket.reads == 1
        again = Models(site.bucket, site.cache, builds_dir=site.home / "builds")
        site.models = again  # another start of the server
        site.bucket.is_down = True
        assert await site.read(site.inside("b1")) == MODEL

    asyncio.run(story())


def test_who_may_not_read_the_file_does_not_get_it_from_the_cache(site):
    site.freeze("b1", {URI: md5(MODEL)})

    async def story():
        assert await site.read(site.inside("b1")) == MODEL
        site.bucket.denied.add("stranger")
        with pytest.raises(NotAuthorized):
            await site.read(site.inside("b1", caller=account("stranger")))

    asyncio.run(story())


def test_another_owner_fetches_anew(site):
    site.freeze("b1", {URI: md5(MODEL)})

    async def story():
        await site.read(site.inside("b1"))
        await site.read(site.inside("b1", owner=account("other")))
        assert site.bucket.reads == 2

    asyncio.run(story())


def test_other_files_are_left_to_the_data_api(site):
    site.freeze("b1", {URI: md5(MODEL), OTHER: md5(b"small")})
    site.bucket.files[str(OTHER)] = b"small"

    async def story():
        assert await site.read(site.inside("b1"), OTHER) is None
        assert await site.read(site.inside("unknown")) is None
        assert await site.read(Principal(account=site.caller)) is None
        site.bucket.files[str(URI)] = MODEL + b"changed"
        assert await site.read(site.inside("b1")) is None  # the kit will see that it is another
        assert site.bucket.reads == 0

    asyncio.run(story())


def test_a_source_that_tells_no_digest_is_checked_by_what_arrives(site):
    site.freeze("b1", {URI: md5(MODEL)})
    site.bucket.knows_md5 = False

    async def story():
        assert await site.read(site.inside("b1")) == MODEL
        assert await site.read(site.inside("b1")) == MODEL
        assert site.bucket.reads == 1
        site.bucket.files[str(URI)] = MODEL[::-1]
        assert await site.read(site.inside("b1")) is None
        assert not [path for path in files_in(site.cache) if path.read_bytes() == MODEL[::-1]]

    asyncio.run(story())


@pytest.mark.parametrize("freeze", ["", "[", "[]", '{"required_files": [1]}', "{}"])
def test_a_freeze_file_that_cannot_be_read_caches_nothing(site, freeze):
    tree = site.home / "builds" / "b1"
    tree.mkdir(parents=True)
    (tree / "model_manifest.json.freeze").write_text(freeze)

    assert asyncio.run(site.read(site.inside("b1"))) is None


def test_what_was_read_longest_ago_makes_room(tmp_path):
    site = Site(tmp_path, bytes_max=2 * len(MODEL) + 10)
    models = [MODEL[:-1] + bytes([n]) for n in range(3)]
    uris = [replace(URI, segments=("bucket", f"{n}.bin")) for n in range(3)]
    site.bucket.files = {str(uri): model for uri, model in zip(uris, models, strict=True)}
    site.freeze("b1", {u: md5(m) for u, m in zip(uris, models, strict=True)})

    async def story():
        inside = site.inside("b1")
        for n in (0, 1):
            await site.read(inside, uris[n])
        entries = sorted((tmp_path / "models" / "entries").iterdir(), key=os.path.getmtime)
        for age, path in enumerate(reversed(entries)):  # the second was read last, then the first
            os.utime(path, (1e9 - age, 1e9 - age))
        os.utime(entries[0], (2e9, 2e9))
        await site.read(inside, uris[2])
        assert len(files_in(site.cache)) == 2
        reads = site.bucket.reads
        assert await site.read(inside, uris[0]) == models[0]
        assert site.bucket.reads == reads
        assert await site.read(inside, uris[1]) == models[1]
        assert site.bucket.reads == reads + 1

    asyncio.run(story())
    site.cache.close()


def test_what_is_being_fetched_takes_its_room(tmp_path):
    site = Site(tmp_path, bytes_max=len(MODEL) + 10)
    uris = [replace(URI, segments=("bucket", f"{n}.bin")) for n in range(3)]
    site.bucket.files = {str(uri): MODEL + bytes([n]) for n, uri in enumerate(uris)}
    site.freeze("b1", {uri: md5(site.bucket.files[str(uri)]) for uri in uris})

    async def story():
        inside = site.inside("b1")
        read = await asyncio.gather(*(site.read(inside, uri) for uri in uris))
        assert len([content for content in read if content]) == 1
        assert len(files_in(site.cache)) == 1
        assert await site.read(inside, uris[2])

    asyncio.run(story())
    site.cache.close()


def test_a_damaged_file_is_fetched_again(site):
    site.freeze("b1", {URI: md5(MODEL)})

    async def story():
        await site.read(site.inside("b1"))
        (path,) = files_in(site.cache)
        path.write_bytes(MODEL[:-1] + b"!")
        site.cache.close()
        site.cache = ModelCache(site.home / "models", bytes_max=64 * MIB)
        site.models = Models(site.bucket, site.cache, builds_dir=site.home / "builds")
        assert await site.read(site.inside("b1")) == MODEL
        assert site.bucket.reads == 2
        await site.cache.sweep()

    asyncio.run(story())


def files_in(cache):
    root = cache._blobs._root
    return [path for path in root.rglob("*") if path.is_file()]
