"""A failure to load whose text is none."""

import os
import struct
import time


def load():
    body = (
        b'{"message": {"a": "\\ud800"}, "error_type": ["OutOfMemoryError\\r\\n"], "stacktrace": 1}'
    )
    os.write(3, struct.pack("<BBHIQ", 1, 2, 0, 2, len(body)) + b"{}" + body)
    time.sleep(3600)


def apply(value):
    return "never"
