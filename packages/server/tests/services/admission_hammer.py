"""
A gateway that only counts: enters and leaves as fast as it can, until SIGTERM.

While it is inside it says so in a table of its own and looks how many others are: after entering
it says so, before leaving it takes it back. More than the limit ends it with 1.
"""

import mmap
import random
import signal
import sys

from algorium_server.services.calling.admission import AdmissionTable, SharedAdmission


def main() -> int:
    table_fd, inside_fd, gateways, number, limit = map(int, sys.argv[1:])
    table = AdmissionTable(table_fd, gateways=gateways, buckets=4)
    admission = SharedAdmission(table, gateway=number, limit=limit)
    inside = memoryview(mmap.mmap(inside_fd, 4096)).cast("I")
    chance = random.Random(number)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, _: stopping.append(signum))
    mine = 0
    is_told = False
    while not stopping:
        if admission.enter("account 0"):
            mine += 1
            inside[number] = mine
            if sum(inside[:gateways]) > limit:
                sys.stderr.write(f"{inside[:gateways].tolist()} are inside\n")
                return 1
            if not is_told:
                is_told = True
                print("entered", flush=True)
        while mine and chance.random() < 0.6:
            mine -= 1
            inside[number] = mine
            admission.leave("account 0")
        other = f"account {chance.randrange(1, 9)}"  # makes and frees rows
        if admission.enter(other):
            admission.leave(other)
    while mine:
        mine -= 1
        inside[number] = mine
        admission.leave("account 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
