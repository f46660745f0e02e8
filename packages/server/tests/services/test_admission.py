"""The limit of open calls holds for one gateway and for several, and outlives none of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from algorium_server.services.calling.admission import AdmissionTable, OwnAdmission, SharedAdmission

LIMIT = 5
SALT = b"not random, here"
ACCOUNTS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(12)]
HAMMER = Path(__file__).with_name("admission_hammer.py")


@pytest.fixture
def shared() -> Iterator[int]:
    descriptor = os.memfd_create("table")
    yield descriptor
    os.close(descriptor)


def two_gateways(descriptor: int, **options) -> tuple[SharedAdmission, SharedAdmission]:
    table = AdmissionTable(descriptor, gateways=2, **options)
    table.salt(SALT)
    return tuple(SharedAdmission(table, gateway=number, limit=LIMIT) for number in range(2))


def test_one_gateway_counts_each_account() -> None:
    admission = OwnAdmission(limit=2)

    assert [admission.enter("jane") for _ in range(3)] == [True, True, False]
    assert admission.enter("bob")
    admission.leave("jane")
    assert [admission.enter("jane"), admission.enter("jane")] == [True, False]


def test_a_refusal_counts_nothing(shared: int) -> None:
    one, other = two_gateways(shared)
    for _ in range(LIMIT):
        assert one.enter("jane")
    for _ in range(100):
        assert not one.enter("jane")
        assert not other.enter("jane")

    one.leave("jane")

    assert other.enter("jane")
    assert not one.enter("jane")


def test_many_accounts_come_and_go(shared: int) -> None:
    one, other = two_gateways(shared, buckets=1)

    refused = 0
    for number in range(1000):
        gateway = (one, other)[number % 2]
        if gateway.enter(f"account {number}"):
            gateway.leave(f"account {number}")
        else:
            refused += 1

    assert refused > 0, "eight rows hold eight accounts, and marks keep them"


def test_an_account_that_finds_no_room_is_refused_and_others_are_not_hurt(shared: int) -> None:
    one, other = two_gateways(shared, buckets=1)
    for number in range(8):
        assert one.enter(f"account {number}")

    assert not other.enter("one too many")
    assert all(other.enter(f"account {number}") for number in range(8))


def test_a_lock_that_is_held_for_too_long_costs_a_refusal(shared: int) -> None:
    """A gateway that somebody stopped in the wrong microsecond must not stop the others."""
    program = (
        "import sys; from algorium_server.services.calling.admission import AdmissionTable\n"
        "with AdmissionTable(int(sys.argv[1]), gateways=2, buckets=1).locked(0):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    one, _ = two_gateways(shared, buckets=1)

    with subprocess.Popen(
        [sys.executable, "-c", program, str(shared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[shared],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert not one.enter("jane")
        holder.kill()
        holder.wait()

        assert one.enter("jane"), "the lock ended with its holder"


@settings(max_examples=60, stateful_step_count=60)
class Gateways(RuleBasedStateMachine):
    """Three gateways over a table that is far too small, against counts in plain dictionaries."""

    @initialize(buckets=st.sampled_from([1, 2, 64]))
    def start(self, buckets: int) -> None:
        self.stack = ExitStack()
        descriptor = os.memfd_create("table")
        self.stack.callback(os.close, descriptor)
        self.table = AdmissionTable(descriptor, gateways=3, buckets=buckets)
        self.table.salt(SALT)
        self.is_roomy = buckets == 64
        self.gateways = [self.gateway(number) for number in range(3)]
        self.open: list[Counter[str]] = [Counter() for _ in range(3)]

    def gateway(self, number: int) -> SharedAdmission:
        admission = SharedAdmission(self.table, gateway=number, limit=LIMIT)
        admission._unmark_at = 2  # marks are given up often
        return admission

    @rule(number=st.integers(0, 2), account=st.sampled_from(ACCOUNTS))
    def enter(self, number: int, account: str) -> None:
        has_room = sum(mine[account] for mine in self.open) < LIMIT
        is_entered = self.gateways[number].enter(account)
        assert has_room or not is_entered
        if self.is_roomy or self.open[number][account]:
            assert is_entered == has_room
        self.open[number][account] += is_entered

    @precondition(lambda self: any(mine.total() for mine in self.open))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        counted = [(number, account) for number, mine in enumerate(self.open) for account in +mine]
        number, account = data.draw(st.sampled_from(counted))
        self.gateways[number].leave(account)
        self.open[number][account] -= 1

    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        self.table.clear(number)
        self.gateways[number] = self.gateway(number)
        self.open[number].clear()

    @invariant()
    def every_row_says_what_is_open(self) -> None:
        if not hasattr(self, "table"):
            return
        words, width = self.table.words, self.table.row_words
        rows = [words[at : at + width].tolist() for at in range(4, len(words), width)]
        counted = sorted(
            counts for row in rows if any(counts := tuple(cell & 0xFFFF for cell in row[4:]))
        )
        accounts = {account for mine in self.open for account in +mine}
        assert counted == sorted(tuple(mine[account] for mine in self.open) for account in accounts)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.table.words.release()
            self.stack.close()


TestGateways = Gateways.TestCase


def test_processes_that_are_killed_neither_exceed_the_limit_nor_keep_places(shared: int) -> None:
    """Real gateways fight for few places; whoever is inside checks that not too many are."""
    gateways, limit, chance = 3, 4, random.Random(7)
    table = AdmissionTable(shared, gateways=gateways, buckets=4)
    table.salt(SALT)
    inside_fd = os.memfd_create("inside")
    os.ftruncate(inside_fd, 4096)

    def start(number: int) -> "subprocess.Popen[bytes]":
        arguments = [shared, inside_fd, gateways, number, limit]
        return subprocess.Popen(
            [sys.executable, str(HAMMER), *map(str, arguments)],
            pass_fds=[shared, inside_fd],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    running = [start(number) for number in range(gateways)]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"entered\n"
        for _ in range(6):
            number = chance.randrange(gateways)
            time.sleep(chance.uniform(0.01, 0.15))  # the moment of the crash, not a synchronization
            running[number].kill()
            running[number].communicate()
            assert running[number].returncode == -signal.SIGKILL
            os.pwrite(inside_fd, bytes(4), 4 * number)
            table.clear(number)
            running[number] = start(number)
            process = running[number]
            assert process.stdout is not None
            assert process.stdout.readline() == b"entered\n"
        for process in running:
            process.terminate()
        said = [process.communicate()[1] for process in running]
        assert [process.returncode for process in running] == [0] * gateways, said
    finally:
        for process in running:
            process.kill()
            process.communicate()
        os.close(inside_fd)

    last = SharedAdmission(table, gateway=0, limit=limit)
    assert [last.enter("account 0") for _ in range(limit + 1)] == [True] * limit + [False]
