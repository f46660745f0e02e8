"""The same product on PostgreSQL: first start, demo, calls, data, a clean restart."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from projects import write_examples
from running import RunningServer

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from postgres import running_postgres


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with running_postgres() as server:
        yield server.new_database()


@pytest.mark.postgresql
@pytest.mark.slow
def test_a_server_keeps_everything_in_postgresql(tmp_path: Path, database_url: str) -> None:
    hello = "def apply(input):\n    return f'Hello {input}'\n"
    examples = write_examples(tmp_path / "examples", {"pg/Hello": hello})
    home = tmp_path / "home"
    options = ("--demo", "--examples-dir", str(examples), "--database", database_url)
    with RunningServer(home, *options) as server:
        headers = {"Authorization": f"Simple {server.key}"}
        data = f"{server.api}/v1/data/.my"
        assert server.call("pg/Hello", "there").json()["result"] == "Hello there"
        assert httpx2.post(data, json={"name": "kept"}, headers=headers).status_code == 200
        stored = httpx2.put(f"{data}/kept/a.txt", content=b"text", headers=headers)
        assert stored.status_code == 200
        assert server.call("pg/Hello", "later", output="void").status_code == 200
        assert server.stop() == 0
        server.start()

        found = httpx2.get(f"{server.api}/v1/data/.my/kept/a.txt", headers=headers)
        again = server.call("pg/Hello", "again")
    assert found.content == b"text"
    assert again.json()["result"] == "Hello again"
    assert not (home / "algorium.db").exists()
