def load():
    raise BaseException("not an exception")


def apply(value):
    return "never"
