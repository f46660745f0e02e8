"""Says that it is ready, and answers calls nobody has made yet."""

import os
import struct
import time


def frame(kind, header, body=b""):
    return struct.pack("<BBHIQ", 1, kind, 0, len(header), len(body)) + header + body


def load():
    ready = frame(1, b'{"load_s": 0}')
    answers = b"".join(
        frame(4, b'{"id": %d, "content_type": "text", "run_s": 0}' % number, b"lie")
        for number in range(1, 50)
    )
    os.write(3, ready + answers)
    time.sleep(3600)


def apply(value):
    return "never"
