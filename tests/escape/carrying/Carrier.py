import os

import pkg


def apply(value):
    if value == "leave":
        os._exit(0)
    if value == "how":
        with open("/proc/self/cmdline") as file:
            return "zygote" if "--zygote" in file.read() else "cold"
    if value.startswith("put "):
        return pkg.put(value[4:])
    return pkg.get(100)
