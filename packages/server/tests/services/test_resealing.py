"""Everything sealed, sealed anew: all of it, whoever sealed it, and the audit log goes on."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from rows import NOW, account, new_id

from algorium_server.domain.audit import AuditFilter
from algorium_server.domain.errors import InternalError, InvalidInput
from algorium_server.domain.event_listeners import SourceType, WantedListener
from algorium_server.domain.registries import Registry
from algorium_server.domain.scms import Provider, ScmConnection, ScmProfile, ScmUrls
from algorium_server.sealing import Seal, add_key
from algorium_server.services import resealing
from algorium_server.services.authoring import package_sources
from algorium_server.services.files.sources import Sources
from algorium_server.services.operations.event_listeners import EventListeners
from algorium_server.services.operations.insight_delivery import InsightDelivery
from algorium_server.services.operations.registries import Registries
from algorium_server.services.people.audit_log import examine
from algorium_server.services.people.secret_stores import SecretStores
from algorium_server.services.resealing import BOUND_TO, Resealing
from algorium_server.services.source.mirroring import Mirroring
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.services.source.scms import Scms
from algorium_server.store import accounts, audit, registries, scms, seals
from algorium_server.store.database import Database

IDS = {
    name: f"the {name}"
    for name in (
        *("owner_id", "account_id", "algorithm_id", "connector_id", "listener_id"),
        *("connection_id", "registry_id", "scm_id", "provider_id", "secret_id", "value_id"),
    )
}
ROW = SimpleNamespace(**IDS, sealed=b"x", is_internal=False)


class _Noted(Exception):
    """Enough was seen."""


class NotingSeal:
    """Notes what somebody binds a secret to."""

    def __init__(self):
        self.bound_to = None

    def unseal(self, _sealed, *, owner, name):
        self.bound_to = (owner, name)
        raise _Noted

    def seal(self, _secret, *, owner, name):
        return self.unseal(b"", owner=owner, name=name)


def _listener(service):
    wanted = WantedListener(
        source_type=next(iter(SourceType)),
        source_uri="",
        algo_owner="",
        algo_name="",
        algo_version="",
        timeout_s=1,
        credentials="c",
    )
    service._made(ROW, ROW.listener_id, wanted, created_at=NOW)


def _package_sources(service):
    @asynccontextmanager
    async def reading():
        yield None

    async def found(_connection, owner_id):
        return ROW

    service._database = SimpleNamespace(reading=reading)
    service._directory = SimpleNamespace(account=lambda _: ROW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package_sources.rows, "sources_of", found)
        asyncio.run(service.opened(ROW.owner_id))


USERS = {
    "connectors": (Sources, lambda service: service.unsealed(ROW)),
    "event_listeners": (EventListeners, _listener),
    "insights_connections": (InsightDelivery, lambda service: service._password(ROW)),
    "package_sources": (package_sources.PackageSourceService, _package_sources),
    "registries": (Registries, lambda service: service._login(ROW)),
    "scm_connections": (ScmAccess, lambda service: service.opened(ROW)),
    "scm_links": (Mirroring, lambda service: service.secrets(ROW)),
    "scms": (Scms, lambda service: service.client_secret(ROW)),
    "secret_providers": (SecretStores, lambda service: service.configuration(ROW)),
    "secrets": (SecretStores, lambda service: service.unsealed(ROW)),
}
"""Who uses what is sealed in which table."""


def test_nothing_sealed_is_left_out():
    assert set(seals.TABLES) == set(BOUND_TO) == set(USERS)


@pytest.mark.parametrize("table", USERS)
def test_seals_are_bound_to_what_their_users_bind_them_to(table):
    service_class, use = USERS[table]
    service = object.__new__(service_class)
    service._seal = NotingSeal()

    with pytest.raises(_Noted):
        use(service)
    assert service._seal.bound_to == BOUND_TO[table](IDS)


class Home:
    """A home with its database and its keys."""

    def __init__(self, path, url, runner):
        self.path = path
        self.url = url
        self.run = runner.run

    @asynccontextmanager
    async def database(self):
        seal = Seal.open(self.path)
        async with await Database.open(self.url, chain_keys=seal.chain_keys) as database:
            yield database

    async def fill(self, *, registries_count=5):
        """Seal something in some tables; return the ids of registries and of connected hosts."""
        seal = Seal.open(self.path)
        made = [new_id() for _ in range(registries_count)]
        jane = account("jane")
        hosts = ["host-a", "host-b"]
        async with self.database() as database, database.transaction() as connection:
            await accounts.add_account(connection, jane)
            for registry_id in made:
                sealed = seal.seal(registry_id.encode(), owner=registry_id, name="registry")
                await registries.add(connection, _registry(registry_id, sealed))
            await registries.add(connection, _registry(new_id(), b""))
            for scm_id in hosts:
                await scms.add_scm(connection, _scm(scm_id))
                name = f"connection {scm_id}"
                sealed = seal.seal(scm_id.encode(), owner=jane.account_id, name=name)
                await scms.put_connection(connection, _connection(jane.account_id, scm_id, sealed))
        return made

    async def opened(self, seal):
        """Return what registries have, as far as it opens with *seal*."""
        found = {}
        async with self.database() as database, database.reading() as connection:
            for each in await registries.registries(connection):
                if each.sealed:
                    found[each.registry_id] = seal.unseal(
                        each.sealed, owner=each.registry_id, name="registry"
                    ).decode()
        return found

    async def reseal(self):
        async with self.database() as database:
            return await Resealing(database, Seal.open(self.path)).reseal()

    async def forget(self):
        async with self.database() as database:
            return await Resealing(database, Seal.open(self.path)).forget(self.path)

    async def spoil(self, registry_id):
        """Put the seal of one registry into the row of another."""
        async with self.database() as database, database.transaction() as connection:
            first, *others = [r for r in await registries.registries(connection) if r.sealed]
            other = next(r for r in (first, *others) if r.registry_id != registry_id)
            await registries.change(connection, _registry(registry_id, other.sealed))


def _registry(registry_id, sealed):
    return Registry(
        registry_id=registry_id, name="r", registry_url="https://r", sealed=sealed, created_at=NOW
    )


def _scm(scm_id):
    return scms.Scm(
        scm_id=scm_id,
        provider=Provider.GITHUB,
        name=scm_id,
        urls=ScmUrls(web=f"https://{scm_id}", api=f"https://{scm_id}/api", ssh=f"git@{scm_id}"),
        client_id="",
        sealed=b"",
        is_enabled=True,
        is_default=False,
        created_at=NOW,
    )


def _connection(account_id, scm_id, sealed):
    return ScmConnection(
        account_id=account_id,
        scm_id=scm_id,
        profile=ScmProfile(username="jane"),
        sealed=sealed,
        revision=new_id(),
        created_at=NOW,
    )


@pytest.fixture
def home(tmp_path, database_url, runner, monkeypatch):
    monkeypatch.setattr(resealing, "RESEALING_PAGE_MAX", 2)
    return Home(tmp_path, database_url, runner)


def test_everything_opens_with_the_new_key_alone_and_the_audit_log_goes_on(home):
    made = home.run(home.fill())
    (old_id,) = Seal.open(home.path).key_ids
    old_file = (home.path / "secrets" / "sealing.json").read_text()
    key_id = add_key(home.path)

    done = home.run(home.reseal())

    assert (done.key_id, done.unreadable, done.shown) == (key_id, 0, ())
    assert done.counts == {"registries": 5, "scm_connections": 2}
    assert home.run(home.forget()) == (old_id,)
    seal = Seal.open(home.path)
    assert seal.key_ids == (key_id,)
    assert home.run(home.opened(seal)) == {each: each for each in made}
    # What the old key was is nowhere in the file any more.
    assert json.loads(old_file)["keys"][old_id] not in (
        (home.path / "secrets" / "sealing.json").read_text()
    )

    async def examined():
        async with home.database() as database:
            verdict = await examine(database, seal.chain_keys, {})
            async with database.reading() as connection:
                entries = await audit.page(connection, AuditFilter(), before=None, limit=9)
        return verdict, entries

    verdict, entries = home.run(examined())
    assert verdict.broken is None
    assert [(each.entry.action, each.entry.target) for each in entries] == [
        ("sealing_key.forgotten", f"sealing_key:{key_id}"),
        ("sealing_key.rotated", f"sealing_key:{key_id}"),
    ]
    assert entries[1].entry.detail == {"older": old_id, "resealed": "7", "unreadable": "0"}
    assert home.run(home.forget()) == ()


def test_no_key_is_forgotten_that_opens_something(home):
    made = home.run(home.fill())
    add_key(home.path)

    with pytest.raises(InvalidInput, match="still sealed with an older key"):
        home.run(home.forget())
    assert len(Seal.open(home.path).key_ids) == 2
    assert home.run(home.opened(Seal.open(home.path))) == {each: each for each in made}


def test_what_does_not_open_is_left_and_told_and_keeps_no_key(home):
    made = home.run(home.fill())
    home.run(home.spoil(made[2]))
    add_key(home.path)

    done = home.run(home.reseal())

    assert (done.unreadable, done.shown) == (1, (f"registries {made[2]}",))
    assert done.counts == {"registries": 4, "scm_connections": 2}
    assert len(home.run(home.forget())) == 1
    with pytest.raises(InternalError):
        home.run(home.opened(Seal.open(home.path)))


def test_keys_tell_what_they_are_needed_for(home):
    home.run(home.fill())
    add_key(home.path)

    async def listed():
        async with home.database() as database:
            return await Resealing(database, Seal.open(home.path)).keys()

    assert [(k.is_current, k.is_forgotten, k.seals) for k in home.run(listed())] == [
        (False, False, 7),
        (True, False, 0),
    ]
    home.run(home.reseal())
    home.run(home.forget())
    assert [(k.is_current, k.is_forgotten, k.seals) for k in home.run(listed())] == [
        (False, True, 0),
        (True, False, 7),
    ]
