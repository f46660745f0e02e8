def load():
    kept = []
    while True:
        kept.append(b"x" * (16 * 1024 * 1024))


def apply(value):
    return "never"
