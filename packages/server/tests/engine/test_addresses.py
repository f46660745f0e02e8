"""The addresses of this machine, as the kernel tells them."""

import ipaddress
import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from algorium_server.engine.addresses import Addresses

CHANGING = """
import json, subprocess
from algorium_runtime import namespaces
from algorium_server.engine.addresses import Addresses
kinds = namespaces.NEW_NET | (0 if __import__("os").geteuid() == 0 else namespaces.NEW_USER)
namespaces.unshare(kinds)
known = Addresses()
told = [sorted(map(str, known.all())), sorted(map(str, known.new()))]
for text in ("198.51.100.7/24", "2001:db8::7/64"):
    subprocess.run(["ip", "addr", "add", text, "dev", "lo"], check=True)
told += [sorted(map(str, found())) for found in (known.new, known.new, known.all)]
print(json.dumps(told))
"""


def test_the_loopback_addresses_are_among_them():
    with closing(Addresses()) as known:
        assert ipaddress.ip_address("127.0.0.1") in known.all()


def test_asking_twice_gives_the_same():
    with closing(Addresses()) as known:
        assert known.all() == known.all()


@pytest.mark.namespaces
def test_new_ones_are_told_once():
    done = subprocess.run(
        [sys.executable, "-c", CHANGING],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "No such file" in done.stderr:
        pytest.skip("this host lets us make no network namespaces, or has no ip")
    assert done.returncode == 0, done.stderr
    before, early, new, again, after = json.loads(done.stdout)

    assert (before, early, again) == ([], [], [])
    assert set(new) == {"198.51.100.7", "2001:db8::7"}
    assert set(new) <= set(after)
