"""Ready before its time, and then once more."""

import os
import struct
import time


def load():
    header = b'{"load_s": 0}'
    os.write(3, struct.pack("<BBHIQ", 1, 1, 0, len(header), 0) + header)
    time.sleep(0.3)


def apply(value):
    return "once"
