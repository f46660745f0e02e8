import re
from pathlib import Path
from typing import Any

import pytest
from standin import KEY, StandIn

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run_as_written(
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALGORITHMIA_API", stand_in.address)
    monkeypatch.setenv("ALGORITHMIA_API_KEY", KEY)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "readme"}

    for block in blocks:
        exec(compile(block, README.name, "exec"), names)
    names["client"].close()

    printed = capsys.readouterr().out
    assert printed.startswith("Hello HAL 9000\n")
    assert "algorithm algo://util/WhoopsWrongAlgo not found 1000 req-" in printed
