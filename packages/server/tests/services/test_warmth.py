"""What is kept warm, and what runs there."""

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
from algorium_server.services.calling.programs import Programs
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
        self.warmth = Warmth(self.directory, self.programs, self)

    def reserve(self, reservations):
        self.reservations = list(reservations)
        self.told.append({each.program.key: each.slots for each in self.reservations})

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
    site.programs._share_of = lambda whole: (whole + 1) // 2
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
