"""A gateway that only counts calls of one minute, until it is refused; prints how many it had."""

import sys

from algorium_server.services.calling.rates import RateTable, SharedRates


def main() -> None:
    table_fd, limit, minute = map(int, sys.argv[1:])
    rates = SharedRates(RateTable(table_fd, buckets=2))
    print("ready", flush=True)
    sys.stdin.readline()
    counted = 0
    while rates.count("account", limit, minute):
        counted += 1
    print(counted, flush=True)


if __name__ == "__main__":
    main()
