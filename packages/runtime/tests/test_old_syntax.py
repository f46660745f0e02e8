"""The runtime is loaded by authors' interpreters, which may be old."""

import ast
from pathlib import Path

import pytest

import algorium_runtime

SOURCES = sorted(Path(str(algorium_runtime.__file__)).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_module_is_valid_for_python_3_8(source):
    ast.parse(source.read_text(), feature_version=(3, 8))
