"""Our own pipes: what each language makes of inputs, results, errors, output and ends."""

import shutil
import socket
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames

RUNTIME = Path(frames.__file__).parent
R_LIBRARIES = ("/usr/lib/R/site-library", "/usr/local/lib/R/site-library", "/usr/lib/R/library")

# The same algorithm in each language: what it does is said by the input.
SOURCES = {
    "node": """
        console.log("loading");
        exports.apply = (input, cb) => {
          console.log("applying");
          if (input === "fail") throw new TypeError("no");
          if (input === "exit") process.exit(7);
          if (input === "bytes") return cb(null, Buffer.from([0, 255]));
          if (input === "nothing") return cb(null, null);
          cb(null, input);
        };
        """,
    "ruby": """
        puts "loading"
        def apply(input)
          puts "applying"
          raise TypeError, "no" if input == "fail"
          exit! 7 if input == "exit"
          return [0, 255].pack("C*") if input == "bytes"
          return nil if input == "nothing"
          input
        end
        """,
    "r": """
        cat("loading\\n")
        algorithm <- function(input) {
          cat("applying\\n")
          if (identical(input, "fail")) stop("no")
          if (identical(input, "exit")) quit(status = 7)
          if (identical(input, "bytes")) return(as.raw(c(0, 255)))
          if (identical(input, "nothing")) return(NULL)
          input
        }
        """,
}
EXTENSIONS = {"node": "js", "ruby": "rb", "r": "r"}
PROGRAMS = {"node": "node", "ruby": "ruby", "r": "Rscript"}


def need(language: str) -> None:
    if shutil.which(PROGRAMS[language]) is None:
        pytest.skip(f"no {PROGRAMS[language]} on this machine")
    if language == "r":
        for package in ("rjson", "base64enc"):
            if not any(Path(library, package).exists() for library in R_LIBRARIES):
                pytest.skip(f"no R package {package} on this machine")


def command(language: str, entry: str, *options: str) -> list[str]:
    pipe = RUNTIME / "languages" / f"{language}.{EXTENSIONS[language]}"
    return [PROGRAMS[language], str(pipe), *options, entry]


Serve = Callable[..., Any]


@pytest.fixture
def serve(start: Callable[..., Any], tmp_path: Path) -> Serve:
    def serve_source(language: str, source: str = "", *, entry: str = "", **files: str) -> Any:
        need(language)
        entry = entry or f"src/Hello.{EXTENSIONS[language]}"
        text = textwrap.dedent(source or SOURCES[language])
        return start(
            "",
            files={entry: text, **files},
            arguments=["-I", "-S", str(RUNTIME), "--pipe", *command(language, entry)],
            env={"TMPDIR": str(tmp_path), "LANG": "C.UTF-8"},
        )

    return serve_source


@pytest.fixture(params=list(SOURCES))
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.slow
def test_values_go_in_and_come_out(serve: Serve, language: str) -> None:
    worker = serve(language).ready()

    assert worker.stdout() == "loading\n"
    for value in [
        "HAL 9000",
        "Grüße 😀\n\u2028",
        b"\x00\xff\n",
        b"",
        7,
        1.5,
        True,
        {"a": [1, 2.5]},
    ]:
        assert worker.call(value) == value, value
    assert worker.call("bytes") == b"\x00\xff"
    assert worker.call("nothing") is None
    assert worker.call(None) is None
    text = worker.exchange("Grüße".encode(), content_type="text")
    assert (text.header["content_type"], text.body) == ("text", "Grüße".encode())
    worker.stdout()
    worker.call("x")
    assert worker.stdout() == "applying\n"
    worker.socket.shutdown(socket.SHUT_WR)
    assert worker.wait() == 0
    assert worker.stderr() == ""


@pytest.mark.slow
def test_large_inputs_and_results_pass(serve: Serve, language: str) -> None:
    worker = serve(language).ready()
    data = bytes(range(256)) * (4 * 1024 * 10)

    assert worker.call(data) == data
    assert worker.call("x" * 1_000_000) == "x" * 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("node", {"message": "TypeError: no", "error_type": None}),
        ("ruby", {"message": "no", "error_type": "TypeError"}),
        ("r", {"message": "no", "error_type": "AlgorithmError"}),
    ],
)
def test_an_error_is_described_as_its_language_does(
    serve: Serve, language: str, expected: dict[str, Any]
) -> None:
    worker = serve(language).ready()

    failure = worker.fail("fail")

    assert {**failure, **expected} == failure
    if language == "r":
        assert failure["stacktrace"] == "algorithm"
    else:
        assert f"Hello.{EXTENSIONS[language]}" in failure["stacktrace"]
        assert f"languages/{language}" not in failure["stacktrace"]
    assert worker.call("still there") == "still there"


@pytest.mark.slow
def test_an_exit_ends_the_process_with_its_code(serve: Serve, language: str) -> None:
    worker = serve(language).ready()
    worker.send(b'"exit"')

    assert worker.read() is None
    assert worker.wait() == 7
    assert worker.stdout() == "loading\napplying\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "source", "said"),
    [
        ("node", "exports.other = () => 1;", "exports no function apply"),
        ("node", "throw new Error('no model');", "no model"),
        ("node", "exports.apply = (", "SyntaxError"),
        ("ruby", "def other(input) input end", "defines no method apply"),
        ("ruby", "raise 'no model'", "no model"),
        ("ruby", "def apply(", "syntax error"),
        ("r", "other <- function(input) input", "defines no function algorithm"),
        ("r", "stop('no model')", "no model"),
        ("r", "algorithm <- function(", "unexpected end of input"),
    ],
)
def test_what_cannot_be_loaded_ends_with_a_reason(
    serve: Serve, language: str, source: str, said: str
) -> None:
    worker = serve(language, source)

    assert worker.read() is None
    assert worker.wait() == 1
    assert said in worker.stderr()


# Node.js


@pytest.mark.slow
@pytest.mark.parametrize(
    ("apply", "expected"),
    [
        ("(input, cb) => cb(null, input)", "x"),
        ("(input, cb) => setTimeout(() => cb(null, input), 5)", "x"),
        ("(input, cb) => { cb(null, 1); cb(null, 2); cb(new Error('3')) }", 1),
        ("(input, cb) => cb(null, undefined)", None),
        ("(input, cb) => cb(null, new Uint8Array([1, 2]))", b"\x01\x02"),
        ("async (input) => input", "x"),
        ("async (input, cb) => input", "x"),
        ("(input) => new Promise((resolve) => setTimeout(() => resolve(input), 5))", "x"),
        ("(input) => input + '!'", "x!"),
        ("(input) => undefined", None),
        ("function () { const cb = arguments[1]; setTimeout(() => cb(null, 1), 5) }", 1),
        ("(...all) => all[0]", "x"),
    ],
)
def test_node_answers_by_callback_promise_or_result(
    serve: Serve, apply: str, expected: object
) -> None:
    worker = serve("node", f"exports.apply = {apply};").ready()

    for _ in range(2):
        assert worker.call("x") == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("apply", "message", "trace", "error_type"),
    [
        ("cb('just words')", "just words", "[None]", None),
        ("cb({toString: () => 'an object'})", "an object", "[None]", None),
        ("cb(new RangeError('no'))", "RangeError: no", "RangeError: no", None),
        (
            "cb(Object.assign(new Error('no'), {error_type: 'InputError'}))",
            "Error: no",
            "",
            "InputError",
        ),
        ("{ throw 'thrown words' }", "thrown words", "[None]", None),
        ("Promise.reject(new Error('rejected'))", "Error: rejected", "Error", None),
    ],
)
def test_node_describes_whatever_is_an_error(
    serve: Serve, apply: str, message: str, trace: str, error_type: str | None
) -> None:
    worker = serve("node", f"exports.apply = (input, cb) => {apply};").ready()

    failure = worker.fail("x")

    assert failure["message"] == message
    assert failure["stacktrace"].startswith(trace)
    assert failure["error_type"] == error_type


@pytest.mark.slow
def test_node_loads_modules_of_both_kinds(serve: Serve) -> None:
    worker = serve(
        "node",
        """
        import { twice } from './twice.mjs';
        export async function apply(input) { return twice(input); }
        """,
        entry="src/Hello.mjs",
        **{"src/twice.mjs": "export const twice = (x) => x + x;"},
    ).ready()

    assert worker.call("ab") == "abab"


@pytest.mark.slow
def test_an_uncaught_error_of_node_ends_the_process(serve: Serve) -> None:
    worker = serve(
        "node", "exports.apply = (input, cb) => setTimeout(() => { throw new Error('late') }, 1);"
    ).ready()
    worker.send(b"1")

    assert worker.read() is None
    assert worker.wait() == 1
    assert "late" in worker.stderr()


# Ruby


@pytest.mark.slow
def test_ruby_rescues_even_an_exit(serve: Serve) -> None:
    worker = serve("ruby", "def apply(input) exit(3) end").ready()

    assert worker.fail("x")["error_type"] == "SystemExit"
    assert worker.fail("x")["message"] == "exit"


@pytest.mark.slow
def test_ruby_tells_bytes_from_text_by_their_encoding(serve: Serve) -> None:
    worker = serve(
        "ruby",
        "def apply(input) input == 'bytes' ? 'abc'.b : input == 'bad' ? \"\\xff\" : 'abc' end",
    ).ready()

    assert worker.call("bytes") == b"abc"
    assert worker.call("text") == "abc"
    assert worker.fail("bad")["error_type"] == "JSON::GeneratorError"


@pytest.mark.slow
def test_the_top_level_of_ruby_is_the_authors(serve: Serve) -> None:
    worker = serve(
        "ruby",
        """
        def encode(x) "mine" end
        def answer(x) "mine" end
        @state = 0
        def apply(input) [encode(1), answer(2), ARGV] end
        """,
    ).ready()

    assert worker.call("x") == ["mine", "mine", []]


# R


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("c('one', 'two')", ["one", "two"]),
        ("list(a = 1, b = 'x')", {"a": 1, "b": "x"}),
        ("c(1, 2, 3)", [1, 2, 3]),
        ("'text'", "text"),
        ("raw(0)", b""),
        ("NULL", None),
        ("TRUE", True),
    ],
)
def test_r_results_become_json_as_rjson_makes_it(serve: Serve, body: str, expected: object) -> None:
    worker = serve("r", f"algorithm <- function(input) {body}").ready()

    assert worker.call("x") == expected


@pytest.mark.slow
def test_an_r_algorithm_may_serve_itself(serve: Serve) -> None:
    """As those that end with `getAlgorithmHandler(algorithm)$serve()` do."""
    worker = serve(
        "r",
        """
        getAlgorithmHandler <- function(algorithm) list(serve = function() {
          out <- file(Sys.getenv("ALGORIUM_FIFO"), open = "wb", raw = TRUE)
          requests <- file("stdin", open = "r")
          print("PIPE_INIT_COMPLETE")
          while (length(line <- readLines(requests, n = 1)) > 0) {
            writeLines(algorithm(rjson::fromJSON(line)$data), out)
            flush(out)
          }
        })
        algorithm <- function(input) {
          rjson::toJSON(list(result = paste("mine", input), metadata = list(content_type = "text")))
        }
        getAlgorithmHandler(algorithm)$serve()
        """,
    ).ready()

    assert worker.call("x") == "mine x"
    worker.socket.shutdown(socket.SHUT_WR)
    worker.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "source", "code"),
    [
        ("node", "exports.apply = (i, cb) => cb(null, i);", 0),
        ("node", "exports.apply = 5;", 1),
        ("ruby", "def apply(input) input end", 0),
        ("ruby", "x = 5", 1),
        ("r", "algorithm <- function(input) input", 0),
        ("r", "x <- 5", 1),
        ("r", "algo <- getAlgorithmHandler(algorithm, load)\nalgo$serve()", 0),
    ],
)
def test_checking_only_loads(tmp_path: Path, language: str, source: str, code: int) -> None:
    need(language)
    entry = tmp_path / f"Hello.{EXTENSIONS[language]}"
    entry.write_text(source)

    done = subprocess.run(
        command(language, entry.name, "--check"),
        check=False,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )

    assert done.returncode == code, done.stderr
    assert b"PIPE_INIT_COMPLETE" not in done.stdout
