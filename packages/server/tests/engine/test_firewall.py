"""The messages that make the packet filter; that the kernel heeds them shows `test_network.py`."""

import errno
import ipaddress
import os
import re
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.engine import firewall

NAME_SERVER = ipaddress.ip_address("198.18.93.3")
INSTALLING = """
import ipaddress, os
from algorium_runtime import namespaces
from algorium_server.engine import firewall, reach
namespaces.unshare(namespaces.NEW_NET | (0 if os.geteuid() == 0 else namespaces.NEW_USER))
own = [ipaddress.ip_address(text) for text in ("198.51.100.2", "2001:db8::2")]
many = ",".join(f"10.{a}.{b}.0/24" for a in range(20) for b in range(50))
name_server = ipaddress.ip_address("198.18.93.3")
firewall.install(reach.decisions(own, reach.parse_allowed(many)), name_server=name_server)
firewall.refuse([ipaddress.ip_network("203.0.113.9"), ipaddress.ip_network("2001:db8::9")])
namespaces.unshare(namespaces.NEW_USER)
try:
    firewall.refuse([ipaddress.ip_network("203.0.113.10")])
except OSError as error:
    print(error.errno)
"""


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_attributes_are_aligned_and_say_their_length(contents: list[bytes]):
    data = b"".join(firewall._attribute(7, content) for content in contents)

    read, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        assert kind == 7
        read.append(data[at + 4 : at + size])
        at += (size + 3) & ~3
    assert (read, at) == (contents, len(data))


def test_an_answer_with_an_error_is_one():
    header = struct.pack("=IHHII", 36, 2, 0, 5, 0)
    answer = header + struct.pack("=i", -errno.ENOENT) + bytes(16)

    with pytest.raises(OSError, match="message 5") as caught:
        firewall._is_acknowledged(answer)

    assert caught.value.errno == errno.ENOENT


def test_an_acknowledgement_is_told_from_other_messages():
    other = struct.pack("=IHHII", 20, 0x15, 0, 5, 0) + bytes(4)
    acknowledgement = struct.pack("=IHHII", 36, 2, 0, 5, 0) + bytes(20)

    assert not firewall._is_acknowledged(other * 2)
    assert firewall._is_acknowledged(other + acknowledgement)


@pytest.mark.namespaces
def test_a_thousand_rules_are_taken_and_nobody_without_the_privilege_changes_them():
    done = subprocess.run(
        [sys.executable, "-c", INSTALLING],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search("unshare: (Operation not permitted|No space left)", done.stderr):
        pytest.skip("this host lets us make no network namespaces")

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == errno.EPERM
