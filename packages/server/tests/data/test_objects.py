"""What sources of their own kind do: long listings, refusals without secrets, and odd keys."""

import asyncio
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import peers
import pytest

sys.path.append(str(Path(__file__).parent))

from fake_dropbox import TOKEN, Drive, Node, running_dropbox
from sources import ROOTS, opened

from algorium_server.data.levels import moment_of, name_below, size_of
from algorium_server.data.objects import Objects
from algorium_server.data.opening import forget_providers
from algorium_server.data.refusals import Scrubber
from algorium_server.data.requests import trusting
from algorium_server.data.s3 import S3Service
from algorium_server.domain.conditions import Condition
from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.errors import (
    InvalidInput,
    NotAuthorized,
    PathNotFound,
    SourceFailed,
    TooLarge,
)
from algorium_server.domain.limits import LISTING_ENTRIES_MAX, SOURCE_CONDITION_BYTES_MAX

FOLDERS = sorted([f"dir {n:04d}" for n in range(LISTING_ENTRIES_MAX + 2)] + ["a", "a-b", "a b"])
FILES = sorted([f"file {n:04d}" for n in range(LISTING_ENTRIES_MAX + 2)] + ["zé", "b"])

FEW_FOLDERS = sorted([f"dir {n:02d}" for n in range(20)] + ["a", "a-b", "a b"])
FEW_FILES = sorted([f"file {n:02d}" for n in range(20)] + ["zé", "b"])


async def of(*chunks):
    for chunk in chunks:
        yield chunk


async def listed(connector, path):
    folders, files, pages, marker = [], [], 0, ""
    while True:
        page = await connector.page(path, marker=marker)
        # A directory never comes after a file of a page before.
        assert not (page.folders and files)
        assert len(page.folders) + len(page.files) <= LISTING_ENTRIES_MAX
        folders += page.folders
        files += [entry.name for entry in page.files]
        pages, marker = pages + 1, page.marker
        if not marker:
            return folders, files, pages
        assert marker.isascii()
        assert all(c.isalnum() or c in "-_" for c in marker)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.running_s3(tmp_path_factory.mktemp("s3")) as peer:
        yield peer


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.running_azure(tmp_path_factory.mktemp("azure")) as peer:
        yield peer


@pytest.fixture(scope="module")
def dropbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with running_dropbox(tmp_path_factory.mktemp("dropbox")) as peer:
        yield peer


@pytest.fixture(scope="module")
def long_directory(s3: peers.Peer) -> None:
    top = s3.directory / "bucket" / "long"
    for name in FOLDERS:
        (top / name).mkdir(parents=True)
        (top / name / "inner").touch()
    for name in FILES:
        (top / name).touch()


def test_long_listings_of_s3_have_every_entry_once_and_in_order(s3, long_directory):

    async def check():
        connector = opened("s3", s3)
        found = await listed(connector, ("bucket", "long"))
        await connector.close()
        return found

    folders, files, pages = asyncio.run(check())

    assert folders == FOLDERS
    assert files == FILES
    assert pages == 3


def test_long_listings_of_dropbox_have_every_entry_once_and_in_order(dropbox):
    drive: Drive = dropbox.drive
    drive.nodes["/long"] = Node("long")
    for name in FOLDERS:
        drive.nodes[f"/long/{name}".lower()] = Node(name)
    for name in FILES:
        drive.nodes[f"/long/{name}".lower()] = Node(name, b"", "0123456789")

    async def check():
        connector = opened("dropbox", dropbox)
        found = await listed(connector, ("long",))
        await connector.close()
        return found

    folders, files, pages = asyncio.run(check())

    assert (folders, files, pages) == (FOLDERS, FILES, 3)


def test_listings_of_google_have_every_entry_once_and_in_order(tmp_path):
    top = tmp_path / "data" / "bucket" / "long"
    for name in FEW_FOLDERS:
        (top / name).mkdir(parents=True)
        (top / name / "inner").touch()
    for name in FEW_FILES:
        (top / name).touch()
    with peers.running_gs(tmp_path) as peer:

        async def check():
            connector = opened("gs", peer, entries_max=10)
            found = await listed(connector, ("bucket", "long"))
            await connector.close()
            return found

        assert asyncio.run(check()) == (FEW_FOLDERS, FEW_FILES, 5)


def test_listings_of_azure_have_every_entry_once_and_in_order(azure):
    async def check():
        connector = opened("azure", azure, entries_max=10)
        paths = [("long", name, "inner") for name in FEW_FOLDERS]
        paths += [("long", name) for name in FEW_FILES]
        await asyncio.gather(*(connector.write(path, of(b"x")) for path in paths))
        found = await listed(connector, ("long",))
        deleted = await connector.delete(("long",), is_forced=True)
        await connector.close()
        return found, deleted

    found, deleted = asyncio.run(check())

    assert found == (FEW_FOLDERS, FEW_FILES, 5)
    assert deleted == 2 * len(FEW_FOLDERS) + len(FEW_FILES) + 1


def test_a_marker_works_whatever_has_been_deleted_since(s3, long_directory):

    async def check():
        connector = opened("s3", s3)
        path = ("bucket", "long")
        first = await connector.page(path)
        second = await connector.page(path, marker=first.marker)
        last = second.files[-1].name
        await connector.delete((*path, last), is_forced=False)
        third = await connector.page(path, marker=second.marker)
        await connector.close()
        return last, [entry.name for entry in third.files]

    last, rest = asyncio.run(check())

    assert rest == [name for name in FILES if name > last]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("s3", {"secret_access_key": "aWrongSecretThatNobodyMaySee+/=0123456789"}),
        ("azure", {"sas_token": "sv=2021-12-02&sr=c&sp=rl&sig=V3JvbmdTaWduYXR1cmVXcm9uZw%3D%3D"}),
        ("dropbox", {"access_token": "sl.wrong-token-that-nobody-may-see-0123456789"}),
    ],
)
def test_wrong_credentials_are_a_failure_of_the_source_and_never_shown(request, name, changed):
    peer = request.getfixturevalue(name)

    async def check():
        connector = opened(name, peer, **changed)
        root = ROOTS[name]
        works = (
            connector.page(root),
            connector.open((*root, "file")),
            connector.stat((*root, "file")),
            connector.write((*root, "file"), of(b"x")),
            connector.create_directory((*root, "dir")),
            connector.delete((*root, "file"), is_forced=True),
        )
        errors = await asyncio.gather(*works, return_exceptions=True)
        await connector.close()
        return errors

    errors = asyncio.run(check())

    assert {type(error) for error in errors} <= {SourceFailed, NotAuthorized}
    for error in errors:
        texts = f"{error.message} {error.detail} {error.hint} {error.fields} {error!r}"
        assert error.__cause__ is None  # its text would go into logs
        for secret in (*peer.secrets, *changed.values()):
            assert secret not in texts
            assert secret.rpartition("sig=")[2] not in texts


def test_the_refusal_of_a_right_has_the_words_of_the_source(azure):
    sas = peers.azure_sas("container", rights="rl")

    async def check():
        connector = opened("azure", azure, sas_token=sas)
        try:
            await connector.write(("file",), of(b"x"))
        finally:
            await connector.close()

    with pytest.raises(NotAuthorized, match="azureblob: This request is not authorized") as refused:
        asyncio.run(check())
    assert sas not in refused.value.message


@pytest.mark.parametrize("name", ["s3", "gs", "azure", "dropbox"])
def test_a_source_that_is_gone_is_a_failure_of_the_source(tmp_path, name):
    gone = {"endpoint": f"http://127.0.0.1:{peers.free_port()}", "allow_http": True}
    if name == "dropbox":
        gone = {"endpoint": f"https://127.0.0.1:{peers.free_port()}"}
    peer = peers.Peer(
        endpoint=str(gone["endpoint"]),
        cred_type="",
        credentials={
            "access_key_id": "some-id-01",
            "secret_access_key": "some-secret-02",
            "email": "a@b.iam.gserviceaccount.com",
            "private_key_id": "some-key-id-03",
            "private_key": "",
            "sas_token": "sig=some-signature-04",
            "container_name": "container",
            "access_token": "some-token-05",
        },
        options=gone,
        secrets=("some-secret-02", "some-signature-04", "some-token-05"),
        directory=tmp_path,
    )

    async def check():
        connector = opened(name, peer)
        works = (
            connector.page((*ROOTS[name], "dir")),
            connector.stat((*ROOTS[name], "dir", "file")),
        )
        errors = await asyncio.gather(*works, return_exceptions=True)
        await connector.close()
        return errors

    for error in asyncio.run(check()):
        assert isinstance(error, SourceFailed)
        assert "some-" not in f"{error.message} {error.detail}"


def test_what_obstore_leaves_half_is_taken_back(s3):
    async def breaking():
        for _ in range(20):
            yield bytes(1024 * 1024)
        raise InvalidInput("no more")

    async def check():
        connector = opened("s3", s3)
        with pytest.raises(InvalidInput):
            await connector.write(("bucket", "large"), breaking())
        await connector.close()
        service = S3Service(s3.credentials, ConnectorOptions(**s3.options), Scrubber(()))
        answer = await service._send("GET", "bucket", parameters={"uploads": ""})
        await service.close()
        return answer.body

    uploads = asyncio.run(check())

    assert b"<Upload>" not in uploads


def test_a_long_file_under_a_condition_is_refused_and_not_cut(s3):
    async def large():
        for _ in range(SOURCE_CONDITION_BYTES_MAX // (1024 * 1024) + 1):
            yield bytes(1024 * 1024)

    async def check():
        connector = opened("s3", s3)
        with pytest.raises(TooLarge):
            await connector.write(("bucket", "f"), large(), condition=Condition(is_new=True))
        with pytest.raises(PathNotFound):
            await connector.stat(("bucket", "f"))
        await connector.close()

    asyncio.run(check())


@pytest.mark.parametrize("path", [("bucket",), ()])
@pytest.mark.parametrize("verb", ["write", "create_directory", "delete"])
def test_buckets_are_not_made_or_changed_through_a_connector(s3, path, verb):
    async def check():
        connector = opened("s3", s3)
        works = {
            "write": lambda: connector.write(path, of(b"x")),
            "create_directory": lambda: connector.create_directory(path),
            "delete": lambda: connector.delete(path, is_forced=True),
        }
        try:
            with pytest.raises((InvalidInput, PathNotFound)):
                await works[verb]()
        finally:
            await connector.close()

    asyncio.run(check())
    assert (s3.directory / "bucket").is_dir()


@pytest.mark.parametrize("bucket", ["no-such-bucket", "..%2f", "a/b", "x?acl", "-", "b" * 300])
def test_a_bucket_that_cannot_be_is_not_there(s3, bucket):
    async def check():
        connector = opened("s3", s3)
        for work in (connector.page((bucket,)), connector.stat((bucket, "file"))):
            with pytest.raises(PathNotFound):
                await work
        await connector.close()

    asyncio.run(check())


def test_s3_over_tls_needs_the_certificate_of_its_authority(tmp_path):
    certificate = tmp_path / "certificate.pem"
    pem = peers.make_certificate(certificate)
    with peers.running_s3(tmp_path, certificate=certificate) as peer:

        async def stored(options: ConnectorOptions) -> bool:
            connector = Objects(S3Service(peer.credentials, options, Scrubber(peer.secrets)))
            try:
                await connector.write(("bucket", "file"), of(b"secret"))
                await connector.create_directory(("bucket", "dir"))
                return len((await connector.page(("bucket",))).files) == 1
            finally:
                await connector.close()

        trusting = ConnectorOptions(endpoint=peer.endpoint, ca_certificate=pem, region="us-east-1")
        assert asyncio.run(stored(trusting))
        with pytest.raises(SourceFailed):
            asyncio.run(stored(ConnectorOptions(endpoint=peer.endpoint, region="us-east-1")))


def test_a_key_of_the_users_own_encrypts_what_is_written():
    key = "arn:aws:kms:eu-central-1:123456789012:key/abcd"
    options = ConnectorOptions(region="eu-central-1", kms_key_id=key)
    service = S3Service({"access_key_id": "a", "secret_access_key": "b"}, options, Scrubber(()))

    async def check():
        store = await service.store("bucket")
        await service.close()
        return store.config

    config = asyncio.run(check())
    assert config["server_side_encryption"] == "aws:kms"
    assert config["sse_kms_key_id"] == key
    assert config["endpoint"] == "https://s3.eu-central-1.amazonaws.com/bucket"


def test_nothing_of_the_servers_environment_is_used(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the operator's")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "the operator's")
    monkeypatch.setenv("SERVICE_ACCOUNT", "/the/operator's")
    forget_providers()

    async def check():
        connector = opened("s3", s3)
        await connector.write(("bucket", "file"), of(b"x"))
        await connector.close()

    asyncio.run(check())
    assert (s3.directory / "bucket" / "file").read_bytes() == b"x"
    assert "SERVICE_ACCOUNT" not in os.environ  # Google's store would read that file


@pytest.mark.parametrize(
    "pem",
    ["no certificate", "\0", "-----BEGIN CERTIFICATE-----\nü\n-----END CERTIFICATE-----\n"],
)
def test_what_is_no_certificate_is_refused(pem):
    with pytest.raises(InvalidInput, match="certificate"):
        trusting(pem)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("p/file", "file"),
        ("p/folder/", "folder"),
        ("p/", None),
        ("p//", None),
        ("p/a/b", None),
        ("p/..", None),
        ("p/./", None),
        ("q/file", None),
        ("file", None),
    ],
)
def test_keys_that_are_no_path_have_no_name(key, name):
    assert name_below("p/", key) == name


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05.000Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("9999-99-99", None),
        ("", None),
    ],
)
def test_times_are_read_and_nonsense_is_none(text, moment):
    assert moment_of(text) == moment


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("0", 0), ("-1", 0), ("9" * 5000, 0), ("²", 0), (None, 0)]
)
def test_sizes_are_read_and_nonsense_is_nothing(text, size):
    assert size_of(text) == size


def test_a_scrubber_knows_a_secret_in_every_spelling():
    secret = "a+secret/with=signs and more"
    scrub = Scrubber([secret, "sv=1&sig=ThE%2BSig%3D", TOKEN, "abc"])

    for text in (
        f"before {secret} after",
        "in a query a%2Bsecret%2Fwith%3Dsigns%20and%20more.",
        "GET http://h/p?sv=1&sig=ThE%2BSig%3D failed",
        "decoded ThE+Sig= too",
        f"Bearer {TOKEN}",
    ):
        shown = scrub(text)
        assert "***" in shown
        assert not any(word in shown for word in ("secret", "Sig", "sl.u"))
    assert scrub("abc is too short to be one") == "abc is too short to be one"
    assert len(scrub("x" * 10_000)) == 300
