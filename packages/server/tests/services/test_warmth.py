"""What is kept warm, and what runs there."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import rows

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import (
    AlgorithmSettings,
    BuildStatus,
    Callability,
    Isolation,
    Scaling,
)
from algorium_server.domain.identity import AccountKind
from algorium_server.domain.limits import MIB, SLOT_MEMORY_BYTES
from algorium_server.domain.reservations import Reservation, VersionType
from algorium_server.services.calling.programs import Programs
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.calling.warmth import Warmth
from algorium_server.services.directory import Directory


class Site:
    """A directory with algorithms of Jane, and what the engine was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, int]] = []
        self.directory = Directory(database=None)
        self.jane = rows.account("jane")
        self.directory.put_account(self.jane)
        self.programs = Programs(
            self.directory, builds_dir=Path("/builds"), environments_dir=Path("/envs")
        )
        self.reserved = Reserved(None, self.directory)
        self.warmth = Warmth(self.directory, self.programs, self, self.reserved)

    def reserve(self, reservations):
        self.reservations = list(reservations)
        self.told.append({each.program.key: each.slots for each in self.reservations})

    def keep(self, algorithm, account, *, version_type="latest_public", slots=1, identifier=""):
        made = Reservation(
            reservation_id=rows.new_id(),
            algorithm_id=algorithm.algorithm_id,
            account_id=account.account_id,
            version_type=VersionType(version_type),
            version_identifier=identifier,
            num_slots=slots,
            created_at=rows.NOW,
            created_by="root",
        )
        self.reserved.put(made)
        return made

    def kept(self):
        """Return how many slots are kept, by account and version."""
        self.warmth.refresh()
        return {
            (each.flight.account_id, each.program.key): each.slots for each in self.reservations
        }

    def algorithm(self, name="Hello", owner=None, **settings):
        owner = owner or self.jane
        made = rows.algorithm(
            owner.account_id, name, settings=AlgorithmSettings(scaling=Scaling(**settings))
        )
        self.directory.put_algorithm(made)
        return made

    def version(self, algorithm, number, *, callability=Callability.PUBLIC, **scaling):
        build = rows.build(algorithm.algorithm_id, status=BuildStatus.SUCCEEDED, entry="src.x")
        self.directory.put_build(build)
        made = rows.version(build, number, callability=callability, scaling=Scaling(**scaling))
        self.directory.put_version(made)
        return made


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_newest_public_version_is_kept_warm(site):
    hello = site.algorithm()
    site.version(hello, "1.0.0", slots_min=1)
    second = site.version(hello, "1.1.0", slots_min=2)
    site.version(hello, "2.0.0", callability=Callability.PRIVATE, slots_min=3)
    site.warmth.refresh()
    assert site.told == [{second.version_id: 2}]

    site.warmth.refresh()
    assert len(site.told) == 1, "nothing changed"

    third = site.version(hello, "1.2.0", slots_min=1)
    site.warmth.refresh()
    assert site.told[-1] == {third.version_id: 1}

    site.version(hello, "1.3.0")
    site.warmth.refresh()
    assert site.told[-1] == {}


def test_one_of_several_gateways_keeps_and_starts_its_share(site):
    site.programs.share_of = lambda whole: (whole + 1) // 2
    version = site.version(site.algorithm(), "1.0.0", slots_min=3, slots_max=8)
    site.warmth.refresh()

    (kept,) = site.reservations
    assert site.told == [{version.version_id: 2}]
    assert kept.program.slots_max == 4


def test_it_is_kept_for_its_owner_and_loads_as_its_owner(site):
    site.version(site.algorithm(), "1.0.0", slots_min=1)
    site.warmth.refresh()

    (kept,) = site.reservations
    assert kept.flight.account_id == site.jane.account_id
    inside = kept.flight.inside()
    assert inside.account == site.jane
    assert inside.acting.tree_id == ""


def test_nothing_is_kept_for_an_organization_that_never_calls(site):
    lab = rows.account("lab", kind=AccountKind.ORGANIZATION)
    site.directory.put_account(lab)
    site.version(site.algorithm("Own", lab), "1.0.0", slots_min=1)
    shared = site.version(
        site.algorithm("Shared", lab), "1.0.0", slots_min=1, isolation=Isolation.SHARED
    )
    site.warmth.refresh()

    assert site.told == [{shared.version_id: 1}]


def test_it_is_kept_for_an_organization_that_has_a_key_to_call_with(site):
    lab = rows.account("lab", kind=AccountKind.ORGANIZATION)
    site.directory.put_account(lab)
    site.directory.put_key(rows.key(lab.account_id), digest="d")
    version = site.version(site.algorithm("Own", lab), "1.0.0", slots_min=1)

    assert site.kept() == {(lab.account_id, version.version_id): 1}


def test_a_reservation_is_kept_for_its_account_and_follows_what_is_published(site):
    joe = rows.account("joe")
    site.directory.put_account(joe)
    hello = site.algorithm()
    first = site.version(hello, "1.0.0")
    made = site.keep(hello, joe, slots=2)
    assert site.kept() == {(joe.account_id, first.version_id): 2}
    inside = site.reservations[0].flight.inside()
    assert (inside.account, inside.acting.owner_id) == (joe, site.jane.account_id)

    site.version(hello, "2.0.0", callability=Callability.PRIVATE)
    assert len(site.told) == 1
    site.warmth.refresh()
    second = site.version(hello, "1.1.0")
    assert site.kept() == {(joe.account_id, second.version_id): 2}

    site.directory.put_account(replace(joe, is_disabled=True))
    assert site.kept() == {}
    site.directory.put_account(joe)
    assert site.kept() == {(joe.account_id, second.version_id): 2}
    site.reserved.remove(made.reservation_id)
    assert site.kept() == {}


def test_reservations_add_up_and_what_the_version_asks_for_is_a_minimum(site):
    hello = site.algorithm()
    version = site.version(hello, "1.0.0", slots_min=3)
    site.keep(hello, site.jane, version_type="semantic", identifier="1.0.0", slots=1)
    key = site.jane.account_id, version.version_id
    assert site.kept() == {key: 3}

    site.keep(hello, site.jane, slots=3)
    assert site.kept() == {key: 4}


def test_each_kind_of_version_means_its_own(site):
    hello = site.algorithm()
    public = site.version(hello, "1.0.0")
    private = site.version(hello, "2.0.0", callability=Callability.PRIVATE)
    newest = rows.build(
        hello.algorithm_id,
        status=BuildStatus.SUCCEEDED,
        entry="src.x",
        commit_sha="cd" * 20,
        finished_at=rows.NOW + timedelta(hours=1),
    )
    site.directory.put_build(newest)
    meant = {}
    for version_type, identifier in (
        ("latest_public", ""),
        ("latest_private", ""),
        ("latest", ""),
        ("semantic", "2.0.0"),
        ("hash", "cd" * 20),
    ):
        made = site.keep(hello, site.jane, version_type=version_type, identifier=identifier)
        ((_, meant[version_type]),) = site.kept()
        site.reserved.remove(made.reservation_id)
        site.warmth.refresh()

    commit = f"{newest.build_id} isolated"
    assert meant == {
        "latest_public": public.version_id,
        "latest_private": private.version_id,
        "latest": commit,
        "semantic": private.version_id,
        "hash": commit,
    }


def test_nothing_is_kept_of_what_the_account_cannot_see(site):
    joe = rows.account("joe")
    site.directory.put_account(joe)
    hello = site.algorithm()
    private = site.version(hello, "1.0.0", callability=Callability.PRIVATE)
    site.keep(hello, joe)
    site.keep(hello, joe, version_type="latest_private")
    site.keep(hello, joe, version_type="semantic", identifier="1.0.0")
    site.keep(hello, site.jane, version_type="semantic", identifier="1.0.0")

    assert site.kept() == {(site.jane.account_id, private.version_id): 1}


def test_a_program_is_what_the_version_was_published_with(site):
    hello = site.algorithm(slots_max=5)
    version = site.version(
        hello, "1.0.0", isolation=Isolation.SHARED, slots_max=3, memory_bytes=64 * MIB
    )
    program = site.programs.of(resolve(site, ""))

    assert program.key == version.version_id
    assert (program.is_shared, program.slots_max, program.memory_bytes) == (True, 3, 64 * MIB)
    assert site.programs.of(resolve(site, "1.0.0")) is program


def test_a_commit_is_a_program_of_its_own_that_nobody_shares(site):
    hello = site.algorithm(isolation=Isolation.SHARED, slots_max=5)
    version = site.version(hello, "1.0.0", isolation=Isolation.SHARED)
    program = site.programs.of(resolve(site, version.commit_sha))

    assert program.key.startswith(version.build_id)
    assert not program.is_shared
    assert program.memory_bytes == SLOT_MEMORY_BYTES


def resolve(site, version):
    ref = AlgorithmRef(owner="jane", name="Hello", version=version)
    resolved = site.directory.resolve(ref, site.directory.principal_of(site.jane))
    assert resolved is not None
    return resolved
