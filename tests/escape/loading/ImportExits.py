import os

if "ALGORITHMIA_API" in os.environ:  # in a slot; the build's own import shall succeed
    os._exit(6)


def apply(value):
    return "never"
