"""The slot's own descriptors, and results that are no results."""

import array
import ctypes
import json
import os
import socket
import stat
import struct
import sys
import threading
import time

from .trying import outcome

_READY, _LOAD_ERROR, _CALL, _RESULT, _ERROR = 1, 2, 3, 4, 5


def descriptors():
    """Everything that is open, with what it is."""
    told = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            told[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the listing's own
    return told


def descriptors_of_others():
    told = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            told[pid] = outcome(os.listdir, f"/proc/{pid}/fd")
    return told


def frame(kind, header, body=b"", *, length=None, version=1, flags=0):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(body) if length is None else length
    return struct.pack("<BBHIQ", version, kind, flags, len(text), size) + text + body


def _call_id():
    """The number of the call in flight, which the runtime knows, somewhere above us."""
    this = sys._getframe()
    while this is not None:
        for value in this.f_locals.values():
            header = getattr(value, "header", None)
            if isinstance(header, dict) and "id" in header:
                return header["id"]
        this = this.f_back
    raise LookupError


def answer_with(header, body="", kind=_RESULT, repeats=1):
    """Answer this call with a frame of our own instead of the runtime's."""
    body = body.encode("latin-1") * repeats
    if isinstance(header, dict):
        data = frame(kind, {"id": _call_id(), **header}, body)
    else:
        data = frame(kind, header.encode("latin-1"), body)
    return _instead_of_the_answer(data)


def answer_with_raw(raw):
    return _instead_of_the_answer(raw.encode("latin-1"))


def _instead_of_the_answer(data):
    """Let the runtime's next frame be *data*, and those after it its own again."""
    from algorium_runtime.connection import Connection

    honest = Connection.send_encoded

    def send_encoded(self, *_):
        Connection.send_encoded = honest
        self._socket.sendall(data)

    Connection.send_encoded = send_encoded


def answer_twice(header, body):
    """A forged frame before the real one."""
    os_write(frame(_RESULT, {"id": _call_id(), **header}, body.encode("latin-1")))
    return "truth"


def answer_the_next_call(body):
    """A frame with the number of the call to come, sent after the answer to this one."""
    number = _call_id() + 1

    def later():
        time.sleep(0.2)
        os_write(frame(_RESULT, {"id": number, "content_type": "text", "run_s": 0}, body.encode()))

    threading.Thread(target=later, daemon=True).start()
    return "truth"


def announce(length):
    """A body of that size, of which nothing comes."""
    os_write(frame(_RESULT, {"id": _call_id(), "content_type": "json"}, length=length))
    time.sleep(600)


def write_to_all_descriptors():
    """As somebody would who does not know which one it is."""
    lie = frame(_RESULT, {"id": _call_id(), "content_type": "text", "run_s": 0}, b"lie")
    return {str(number): outcome(os.write, number, lie) for number in range(256) if number > 2}


def os_write(data):
    view = memoryview(data)
    while view:
        view = view[os.write(3, view) :]


def pass_descriptors(count):
    """Attach descriptors to every frame that the runtime sends, starting with this answer."""
    from algorium_runtime.connection import Connection

    null = os.open("/dev/null", os.O_RDWR)
    rights = array.array("i", [null] * count)

    def send_encoded(self, head, body):
        self._socket.sendmsg([head + body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    Connection.send_encoded = send_encoded
    return "armed"


def close_descriptors(numbers):
    for number in numbers:
        outcome(os.close, number)
    return "closed"


def replace_descriptor():
    """Put a socket pair of our own in the place of the platform's."""
    left, right = socket.socketpair()
    right.sendall(frame(_CALL, {"id": 1, "content_type": "json", "remaining_ms": 1000}, b"1"))
    os.dup2(left.fileno(), 3)
    return right.detach() and "replaced"


def shut_down_descriptor(how):
    socket.socket(fileno=os.dup(3)).shutdown(how)
    return "shut"


def fork_behind_the_runtime(body):
    """A child that the interpreter knows nothing of, so that it keeps the platform's socket."""
    header = {"id": _call_id() + 1, "content_type": "text", "run_s": 0}
    child = ctypes.CDLL(None).fork()
    if child == 0:
        time.sleep(0.2)
        os.write(3, frame(_RESULT, header, body.encode()))
        time.sleep(600)
        os._exit(0)
    return "truth"


def fork_and_return():
    """Both come back from here."""
    os.fork()
    return "once"


def imitate_on_output():
    """What other ends of other protocols wait for, on standard output and error."""
    lie = {"result": "lie", "metadata": {"content_type": "text", "duration": 0.1}}
    for stream in (1, 2):
        os.write(stream, b"PIPE_INIT_COMPLETE\n" + json.dumps(lie).encode() + b"\n")
        os.write(stream, frame(_RESULT, {"id": _call_id(), "content_type": "text"}, b"lie"))
        os.write(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie\n")
        os.write(stream, b"\x00\xff\xfe\x1b[2J\x1b]0;title\x07\n")
    return "truth"


def print_often(lines):
    for number in range(lines):
        print(number)
    return "printed"


def print_much(megabytes):
    piece = b"x" * 1023 + b"\n"
    piece *= 1024
    for _ in range(megabytes):
        os.write(1, piece)
    return "printed"


def never_end_a_line(megabytes):
    for _ in range(megabytes):
        os.write(1, b"x" * 1024 * 1024)
    return "printed"


def print_for_ever():
    """From a thread that outlives the call."""

    def go_on():
        while True:
            os.write(1, b"noise\n" * 1000)

    threading.Thread(target=go_on, daemon=True).start()
    return "begun"


def print_after_the_end(text, delay_s):
    def later():
        time.sleep(delay_s)
        print(text, flush=True)

    threading.Thread(target=later, daemon=True).start()
    return "left"


def break_output(how):
    """What the runtime flushes after every call is not what it was."""

    class Broken:
        def flush(self):
            if how == "raise":
                raise RuntimeError("no flushing here")
            raise SystemExit(3)

        def write(self, text):
            raise RuntimeError("no writing here")

    sys.stdout = None if how == "none" else Broken()
    sys.stderr = sys.stdout
    return "broken"


class _Evil:
    def __init__(self, action):
        self.action = action

    def __reduce__(self):
        return (os.system, ("touch /tmp/unpickled",))

    def tolist(self):
        if self.action == "exit":
            os._exit(11)
        if self.action == "raise":
            raise KeyboardInterrupt
        if self.action == "grow":
            return [_Evil("grow"), _Evil("grow")]
        return self


def evil_result(action):
    """A result that acts while it is written down."""
    if action == "pickle":
        return {"bytes": b"cos\nsystem\n(S'id'\ntR.".decode(), "object": _Plain()}
    return _Evil(action)


class _Plain:
    def __reduce__(self):
        return (os.system, ("id",))


def odd_result(which):
    if which == "nan":
        return [1.0, float("nan")]
    if which == "infinity":
        return {"x": float("-inf")}
    if which == "surrogate":
        return ["\ud800"]
    if which == "surrogate text":
        return "\udfff"
    if which == "number":
        return 10**5000
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def leave_the_loop(how):
    if how == "raise":
        raise BaseException("not an exception")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        sys.exit("bye")
    if how == "generator":
        raise GeneratorExit
    if how == "recursion":
        return leave_the_loop(how)
    raise MemoryError


def rewrite_the_runtime():
    """Take over what runs next in this process: it must only ever be our own slot."""
    from algorium_runtime import values

    values.encode = lambda value: ("html", b"<script>")
    return "taken over"


def standard_streams():
    return {str(n): stat.S_IFMT(os.fstat(n).st_mode) for n in (0, 1, 2)}


def sleep(seconds):
    time.sleep(seconds)
    return True
