"""Two gateways on one database: what one of them is told, both of them do."""

from dataclasses import replace
from uuid import uuid4

import pytest
import rows

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.errors import (
    NoSuchAlgorithm,
    NotAuthorized,
    SecretInvalid,
    SecretProviderNotFound,
)
from algorium_server.domain.identity import KeyKind, Principal
from algorium_server.sealing import Seal
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.files.reaching import Reach
from algorium_server.services.people.secret_delivery import SecretDelivery, SlotRenewals
from algorium_server.services.people.secret_providers import SecretProviders
from algorium_server.services.people.secret_stores import SecretStores
from algorium_server.services.people.secrets import Secrets, WantedSecret
from algorium_server.store import accounts, algorithms

JANE, BOB = rows.account("jane"), rows.account("bob")
HELLO, OTHER = (rows.algorithm(JANE.account_id, name) for name in ("Hello", "Other"))
REF = AlgorithmRef(owner="jane", name="Hello")
OWNER = Principal(account=JANE)


class Engine:
    """Notes what is to be replaced."""

    def __init__(self) -> None:
        self.drained: list[str] = []

    async def drain(self, *, algorithm_id: str = "", program_key: str = "") -> None:
        self.drained.append(algorithm_id)


class Gateway:
    """What a gateway has for secrets."""

    def __init__(self, database, home) -> None:
        self.engine = Engine()
        self.directory = Directory(database)
        stores = SecretStores(Seal.open(home), Reach())
        self.delivery = SecretDelivery(database, stores)
        self.renewals = SlotRenewals(database, Authors(self.directory), self.delivery, self.engine)
        self.secrets = Secrets(database, stores, self.renewals)
        self.providers = SecretProviders(database, stores, self.renewals)

    async def begin(self) -> None:
        await self.directory.load()
        await self.renewals.load()

    async def follow(self) -> list[str]:
        await self.renewals.follow()
        await self.renewals.settle()  # for the tasks to run
        drained, self.engine.drained = self.engine.drained, []
        return drained


@pytest.fixture
def gateways(database, runner, tmp_path):
    here, there = Gateway(database, tmp_path), Gateway(database, tmp_path)

    async def fill() -> None:
        async with database.transaction() as connection:
            for account in (JANE, BOB):
                await accounts.add_account(connection, account)
            for algorithm in (HELLO, OTHER):
                await algorithms.add_algorithm(connection, algorithm)
        await here.begin()
        await there.begin()

    runner.run(fill())
    return here, there


def wanted(key: str = "TOKEN", value: str | None = "one") -> WantedSecret:
    return WantedSecret(short_name="a", description=" ", secret_key=key, value=value)


def test_a_secret_is_delivered_on_both_from_its_creation_to_its_end(gateways, runner) -> None:
    here, there = gateways

    async def story() -> None:
        made = await here.secrets.create(OWNER, REF, wanted())
        assert here.engine.drained == [HELLO.algorithm_id]
        assert await here.delivery.variables(HELLO.algorithm_id) == {"TOKEN": "one"}
        assert await there.delivery.variables(HELLO.algorithm_id) == {}  # not followed yet
        assert await there.follow() == [HELLO.algorithm_id]
        assert await there.delivery.variables(HELLO.algorithm_id) == {"TOKEN": "one"}
        assert await there.delivery.variables(OTHER.algorithm_id) == {}

        await there.secrets.change(OWNER, REF, made.secret_id, wanted(value="two"))
        assert await here.delivery.variables(HELLO.algorithm_id) == {"TOKEN": "two"}
        assert await here.follow() == [HELLO.algorithm_id, HELLO.algorithm_id]
        await there.secrets.change(OWNER, REF, made.secret_id, wanted(value=None))
        assert await here.follow() == []  # only names changed

        await here.secrets.delete(OWNER, REF, made.secret_id)
        await there.follow()
        for gateway in (here, there):
            assert await gateway.delivery.variables(HELLO.algorithm_id) == {}

    runner.run(story())


def test_a_gateway_that_starts_has_what_there_is_and_replaces_nothing(
    gateways, runner, database, tmp_path
) -> None:
    here, _ = gateways

    async def story() -> None:
        await here.secrets.create(OWNER, REF, wanted())
        late = Gateway(database, tmp_path)
        await late.begin()
        assert await late.follow() == []
        assert await late.delivery.variables(HELLO.algorithm_id) == {"TOKEN": "one"}

    runner.run(story())


def test_slots_are_recycled_on_both_by_whoever_may(gateways, runner) -> None:
    here, there = gateways

    async def story() -> None:
        await here.renewals.recycle(OWNER, REF)
        assert here.engine.drained == await there.follow() == [HELLO.algorithm_id]
        with pytest.raises(NotAuthorized):
            await here.renewals.recycle(Principal(account=BOB), REF)
        with pytest.raises(NoSuchAlgorithm):
            await here.renewals.recycle(OWNER, replace(REF, name="Nothing"))
        assert await there.follow() == []

    runner.run(story())


def test_a_secret_that_cannot_be_changes_nothing(gateways, runner) -> None:
    here, there = gateways

    async def story() -> None:
        await here.secrets.create(OWNER, REF, wanted())
        await there.follow()
        with pytest.raises(SecretInvalid):
            await there.secrets.create(OWNER, REF, wanted(value="other"))
        for owner_id in (OTHER.algorithm_id, str(uuid4())):
            with pytest.raises(SecretInvalid):
                await there.secrets.create(OWNER, REF, replace(wanted("B"), owner_id=owner_id))
        assert await there.follow() == []
        assert await there.delivery.variables(HELLO.algorithm_id) == {"TOKEN": "one"}

    runner.run(story())


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "\N{SLIGHTLY SMILING FACE}"])
def test_what_is_no_id_of_a_provider_is_not_found(gateways, runner, name: str) -> None:
    here, _ = gateways
    admin = replace(JANE, is_admin=True)
    asking = Principal(account=admin, key=rows.key(admin.account_id, kind=KeyKind.ADMIN))
    for ask in (here.providers.provider, here.providers.make_default, here.providers.delete):
        with pytest.raises(SecretProviderNotFound):
            runner.run(ask(asking, name))
