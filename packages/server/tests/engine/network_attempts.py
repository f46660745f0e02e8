"""
Runs inside a sandbox: tries to reach addresses in every way we know and says how each ended.

Prints a JSON object: attempt -> "refused" or what it achieved. Argument: a JSON object with the
addresses to try.
"""

import contextlib
import json
import socket
import struct
import sys

WANTED = json.loads(sys.argv[1])
DEVICE = WANTED["device"].encode()
PATIENCE_S = 3
IP_PKTINFO, IPV6_PKTINFO, IP_UNICAST_IF, IPV6_UNICAST_IF = 8, 50, 50, 76
IP_RECVERR, IPV6_RECVERR = 11, 25
FAST_OPEN = 0x20000000


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def plain(address, port):
    with socket.socket(family(address)) as client:
        return talk(client, address, port)


def by_device(address, port):
    with socket.socket(family(address)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, DEVICE)
        return talk(client, address, port)


def by_index(address, port):
    with socket.socket(family(address)) as client:
        index = struct.pack("!I", device_index())
        if family(address) == socket.AF_INET:
            client.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, index)
        else:
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_IF, index)
        return talk(client, address, port)


def fast(address, port):
    with socket.socket(family(address)) as client:
        # not `settimeout`: what does not block begins and says that it is not done
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            client.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE_S, 0))
        client.sendto(b"GET / HTTP/1.0\r\n\r\n", FAST_OPEN, (address, port))
        return client.recv(20).decode()


def talk(client, address, port):
    client.settimeout(PATIENCE_S)
    client.connect((address, port))
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return client.recv(20).decode()


def datagram(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect((address, port))
        client.send(b"plain")
        return client.recv(20).decode()


def datagram_by_index(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        index = device_index()
        # the options for errors: to hear of a refusal at once
        if family(address) == socket.AF_INET:
            client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            extra = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("i8x", index))
        else:
            client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            extra = (socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("16xi", index))
        client.sendmsg([b"index"], [extra], 0, (address, port))
        return client.recv(20).decode()


def device_index():
    """Found by trying: asking takes what is refused here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for index in range(2, 1000):
            with contextlib.suppress(OSError):
                any_socket.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, struct.pack("!I", index))
                return index
    raise OSError("no device")


def outcome(attempt, *arguments):
    try:
        return attempt(*arguments)
    except OSError:
        return "refused"


WAYS = (plain, by_device, by_index, fast)
said = {}
for address in WANTED["addresses"]:
    for way in WAYS:
        said[f"{way.__name__} {address}"] = outcome(way, address, WANTED["port"])
    for way in (datagram, datagram_by_index):
        said[f"{way.__name__} {address}"] = outcome(way, address, WANTED["udp_port"])
for name in WANTED["names"]:
    said[f"name {name}"] = outcome(plain, name, WANTED["port"])
for address, port in WANTED["others"]:
    said[f"port {address} {port}"] = outcome(plain, address, port)
    if WANTED["device"] == "tap0":
        said[f"device {address} {port}"] = outcome(by_device, address, port)
print(json.dumps(said))
