"""The slot protocol on standard input and output, as `algo dev` starts it."""

import subprocess
import sys
from pathlib import Path

import algorium_runtime
from algorium_runtime import frames
from algorium_runtime.standard_streams import mark_of

RUNTIME = str(Path(algorium_runtime.__file__).parent)


def run(project: Path, source: str, *calls: bytes) -> tuple[list[frames.Frame], bytes, int]:
    (project / "src").mkdir()
    (project / "src/Mine.py").write_text(source)
    sent = b"".join(
        frames.encode(frames.CALL, {"id": number, "content_type": "text"}, body)
        for number, body in enumerate(calls, start=1)
    )
    done = subprocess.run(
        [sys.executable, "-u", RUNTIME, "--here", "src.Mine", "nonce"],
        cwd=project,
        input=sent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    answers, rest = [], done.stdout
    while rest:
        prefix = frames.decode_prefix(rest[:16], header_len_max=1 << 16, body_len_max=1 << 20)
        body_at = 16 + prefix.header_len
        end = body_at + prefix.body_len
        header = frames.decode_header(rest[16:body_at])
        answers.append(frames.Frame(prefix.type, header, rest[body_at:end]))
        rest = rest[end:]
    return answers, done.stderr, done.returncode


def test_calls_are_answered_and_output_is_marked(tmp_path: Path) -> None:
    answers, printed, code = run(
        tmp_path,
        "import os\nprint('loading')\ndef apply(input):\n"
        "    print('one')\n    os.write(1, b'two\\n')\n    return input[::-1]\n",
        b"ab",
        b"cd",
    )

    mark = mark_of("nonce")
    assert [answer.type for answer in answers] == [frames.READY, frames.RESULT, frames.RESULT]
    assert [answer.body for answer in answers[1:]] == [b"ba", b"dc"]
    assert printed == b"loading\n%bone\ntwo\n%bone\ntwo\n%b" % (mark, mark, mark)
    assert code == 0


def test_a_module_that_does_not_load_says_why(tmp_path: Path) -> None:
    answers, printed, code = run(tmp_path, "raise ValueError('no')\n", b"x")

    assert [answer.type for answer in answers] == [frames.LOAD_ERROR]
    assert b'"no"' in answers[0].body
    assert printed == mark_of("nonce")
    assert code == 1


def test_the_code_finds_neither_input_nor_arguments(tmp_path: Path) -> None:
    answers, _, _ = run(
        tmp_path,
        "import sys\ndef apply(input):\n    return [sys.stdin.read(), sys.argv[1:]]\n",
        b"x",
    )

    assert answers[1].body == b'["",[]]'
