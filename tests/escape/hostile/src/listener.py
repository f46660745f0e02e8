"""The platform's API inside the slot: acting for somebody else, or when nobody is asking."""

import contextlib
import json
import os
import socket
import threading
import time
from urllib.parse import urlsplit

_API = urlsplit(os.environ.get("ALGORITHMIA_API", ""))
_ACCOUNT = "/v1/data/"
_kept = {}
_told = []


def connect():
    return socket.create_connection((_API.hostname, _API.port), timeout=10)


def send(raw, *, patience_s=5.0, connection=None, wanted=1000, has_body=True):
    """Send bytes; return [status, head, body] of every answer, until there is silence."""
    own = connection or connect()
    own.settimeout(patience_s)
    with contextlib.suppress(OSError):
        own.sendall(raw)
    answers = []
    with contextlib.suppress(TimeoutError, ConnectionError):
        while len(answers) < wanted and (answer := _answer(own, has_body=has_body)):
            answers.append(answer)
            own.settimeout(0.2)
    if connection is None:
        own.close()
    return answers


def _answer(connection, *, has_body):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(1)
        if not piece:
            return None
        data += piece
    head = data.decode("latin-1")
    length = 0
    for line in head.lower().split("\r\n"):
        if has_body and line.startswith("content-length:"):
            length = int(line.split(":")[1])
    body = b""
    while len(body) < length and (piece := connection.recv(length - len(body))):
        body += piece
    return [int(head.split()[1]), head, body.decode("utf-8", "replace")]


def request(method, path, headers=(), body=b""):
    lines = [f"{method} {_API.path}{path} HTTP/1.1", f"Host: {_API.netloc}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(method, path, headers=(), body=""):
    """One request, one answer."""
    raw = request(method, path, headers, body.encode())
    answers = send(raw, patience_s=20, wanted=1, has_body=method != "HEAD")
    return answers[0] if answers else None


def ask_with_each(headers_of_each):
    """Who am I, with each of these lists of headers?"""
    return [ask("GET", _ACCOUNT, headers) for headers in headers_of_each]


def ask_each(requests):
    return [ask(*each) for each in requests]


def send_raw(raw, patience_s=1.0):
    """Anything; `$` stands for the prefix of paths."""
    return send(raw.replace("$", _API.path).encode("latin-1"), patience_s=patience_s)


def keep_connection(name):
    """Open a connection and say who we are on it, to be used in a later call."""
    _kept[name] = connect()
    return send(request("GET", _ACCOUNT), connection=_kept[name], wanted=1)


def use_kept_connection(name):
    return send(request("GET", _ACCOUNT), connection=_kept[name], wanted=1)


def begin_request(name, method, path, length):
    """Send a head and half of a body; the rest comes in a later call."""
    _kept[name] = connect()
    head = request(method, path, [f"Content-Length: {length}", "Expect: 100-continue"])
    _kept[name].sendall(head)
    begun = _kept[name].recv(1000).decode()  # it is being served once it is told to go on
    _kept[name].sendall(b"x" * (length // 2))
    return begun


def finish_request(name, length):
    return send(b"y" * (length - length // 2), connection=_kept[name], wanted=1)


def ask_after_the_end(delay_s, path=_ACCOUNT):
    """From a thread that outlives the call, on a connection that was opened during it."""
    connection = connect()
    send(request("GET", _ACCOUNT), connection=connection, wanted=1)

    def later():
        time.sleep(delay_s)
        _told.append(send(request("GET", path), connection=connection, wanted=1))

    threading.Thread(target=later, daemon=True).start()
    return "left"


def call_after_the_end(delay_s, ref):
    def later():
        time.sleep(delay_s)
        _told.append(send(request("POST", f"/v1/algo/{ref}", (), b"1"), wanted=1))

    threading.Thread(target=later, daemon=True).start()
    return "left"


def told():
    """What the threads above were told."""
    answers, _told[:] = list(_told), []
    return answers


def flood(count):
    """Open many connections that never ask, then see whether one more is answered."""
    held = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            held.append(connect())
    alive = sum(_is_open(each) for each in held)
    for each in held:
        each.close()
    return {"opened": len(held), "alive": alive}


def _is_open(connection):
    connection.settimeout(0.001)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def endless_head(size):
    head = request("GET", _ACCOUNT, ["X-Long: " + "x" * size])
    return send(head, patience_s=10)


def endless_body(path, size):
    """Announce more than any limit allows and send as much of it as is taken."""
    connection = connect()
    connection.sendall(request("PUT", path, [f"Content-Length: {10**15}"]))
    sent = 0
    piece = b"x" * 65536
    with contextlib.suppress(OSError):
        while sent < size:
            sent += connection.send(piece)
    connection.close()
    return sent


def listen_instead():
    """Take the platform's place at its own address."""
    told = {}
    for name, options in {"plain": (), "reuse": (2,), "share": (15,), "both": (2, 15)}.items():
        with socket.socket() as listener:
            for option in options:
                listener.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                listener.bind((_API.hostname, _API.port))
                listener.listen()
                told[name] = "listens"
            except OSError as error:
                told[name] = error.errno
    return told


def whole_account():
    return json.loads(ask("GET", _ACCOUNT)[2])
