"""
What git runs as a hook: asks the server, prints what it answers, ends as it says.

A program of its own with the standard library alone; it starts with every push. The server's end is
a descriptor that only the processes of this push have: there is no address at which anybody else
could ask, and when the server dies, this end reads nothing and the push is refused.

A question is one line of JSON. The answer is lines of JSON: `say` is shown to the pusher, `end` is
the exit status.
"""

import json
import os
import socket
import sys

DESCRIPTOR = "ALGORIUM_HOOK"
"""Environment variable with the number of the descriptor."""
UPDATES_BYTES_MAX = 1024 * 1024
"""Of what git tells a hook: a line for each branch and tag."""
_QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


def main() -> int:
    """Ask, and return the exit status."""
    updates = sys.stdin.buffer.read(UPDATES_BYTES_MAX + 1)
    if len(updates) > UPDATES_BYTES_MAX:
        _say("This push changes too many branches and tags at once.")
        return 1
    question = {
        "hook": sys.argv[1],
        "updates": updates.decode("utf-8", "replace"),
        "options": _options(),
        # Where git keeps what has arrived until it is accepted.
        "objects": {name: os.environ[name] for name in _QUARANTINE if name in os.environ},
    }
    with socket.socket(fileno=int(os.environ[DESCRIPTOR])) as server:
        server.sendall(json.dumps(question).encode() + b"\n")
        for line in server.makefile("rb"):
            answer = json.loads(line)
            if "end" in answer:
                return int(answer["end"])
            _say(answer["say"])
    _say("The server stopped before it could decide.")
    return 1


def _options() -> list[str]:
    count = os.environ.get("GIT_PUSH_OPTION_COUNT", "")
    if not count.isdigit():
        return []
    return [os.environ.get(f"GIT_PUSH_OPTION_{i}", "") for i in range(int(count))]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
