"""
The server answers requests made from its own document as it says.

Here each operation is asked for once. With many more, at least so many over all operations and
everybody, on a server of its own, in about ten minutes:

    uv run python tests/fuzz.py --cases 20000
"""

from pathlib import Path

import pytest
from fuzz import Fuzzer, report
from running import RunningServer


@pytest.mark.slow
def test_the_server_answers_as_its_document_says(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "home") as running:
        found = Fuzzer(running, cases=0).run()
        lines = [line for line in running.lines if "internal error" in line]

    assert list(found.failures) == [], "\n".join(report(found))
    assert lines == []
    assert len(found.operations) > 150
    assert found.cases > 150
    assert {200, 401, 403, 404} <= found.statuses.keys()
