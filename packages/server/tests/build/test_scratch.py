"""What foreign code says of input and result is read, and not believed."""

import json
import os

import pytest

from algorium_server.build.scratch import read_signature
from algorium_server.domain.algorithms import Signature
from algorium_server.domain.limits import SIGNATURE_CHARS_MAX

TEXT = {"type": "string"}


def test_schemas_become_lines_of_json(tmp_path):
    (tmp_path / "signature.json").write_text(json.dumps({"input": TEXT, "output": {"x": "ü"}}))

    assert read_signature(tmp_path) == Signature(
        input_schema='{"type":"string"}', output_schema='{"x":"ü"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "null",
        '{"input": [], "output": 3}',
        '{"input": {}, "output": null}',
        json.dumps({"input": {"x": "y" * SIGNATURE_CHARS_MAX}}),
        json.dumps({"input": {"x": "y" * 2_000_000}}),
        '{"input": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
        '{"input": {"a": "\\u0000"}}',
        '{"input": {"allOf": ' + "[" * 200 + "]" * 200 + "}}",
        b'{"input": {"a": "\xff"}}',
    ],
)
def test_what_is_no_schema_is_nothing(tmp_path, text):
    path = tmp_path / "signature.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert read_signature(tmp_path) == Signature()


def test_neither_links_nor_pipes_are_opened(tmp_path):
    (tmp_path / "elsewhere").write_text(json.dumps({"input": TEXT}))
    (tmp_path / "signature.json").symlink_to(tmp_path / "elsewhere")
    assert read_signature(tmp_path) == Signature()

    (tmp_path / "signature.json").unlink()
    os.mkfifo(tmp_path / "signature.json")
    assert read_signature(tmp_path) == Signature()
    assert read_signature(tmp_path / "nowhere") == Signature()
