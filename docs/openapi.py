"""
Fetches the OpenAPI document of the management API from a server, for the site of `make docs`.

The server is a new one, with an empty home, at a free port of this machine; it ends with this.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import urlopen

ALGORIUM = Path(sys.executable).with_name("algorium")
READY = "ready "


def fetch() -> bytes:
    """Return the document as a server of this checkout answers it."""
    with tempfile.TemporaryDirectory() as home:
        command = [str(ALGORIUM), "serve", "--home", home, "--port", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as server:
            try:
                assert server.stdout is not None
                said = []
                for line in server.stdout:
                    said.append(line)
                    if line.startswith(READY):
                        address = line.removeprefix(READY).strip()
                        with urlopen(f"{address}/v1/openapispec", timeout=60) as answer:  # noqa: S310
                            document: bytes = answer.read()
                        return document
            finally:
                server.terminate()
        raise SystemExit("the server did not start:\n" + "".join(said))


def main() -> None:
    """Write the document to the path that is given."""
    place = Path(sys.argv[1])
    place.write_bytes(fetch())


if __name__ == "__main__":
    main()
