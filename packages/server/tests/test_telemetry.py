import io
import json
import logging

import pytest

from algorium_server import telemetry


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    telemetry.configure("info", "logfmt", file=io.StringIO())
    root.handlers, root.level = handlers, level


def lines(level, format_, work):
    file = io.StringIO()
    telemetry.configure(level, format_, file=file)
    work(telemetry.logger("algorium_server.test"))
    return file.getvalue().splitlines()


def test_json_lines_hold_the_members():
    (line,) = lines("info", "json", lambda log: log.info("build finished", build="b1", log_s=1.5))

    read = json.loads(line)
    assert read["event"] == "build finished"
    assert read["level"] == "info"
    assert read["module"] == "algorium_server.test"
    assert (read["build"], read["log_s"]) == ("b1", 1.5)
    assert read["timestamp"].endswith("Z")


@pytest.mark.parametrize("format_", ["auto", "logfmt"])
def test_off_a_terminal_lines_are_name_and_value(format_):
    (line,) = lines("info", format_, lambda log: log.info("one\ntwo", path='a "b"'))

    assert line.startswith("timestamp=")
    assert r"level=info event=one\ntwo" in line
    assert r'path="a \"b\""' in line


@pytest.mark.parametrize("format_", ["json", "logfmt", "console"])
def test_secrets_are_hidden(format_):
    secret = "simAbCdEfGhIjKlMnOpQrStUvWxY"

    def work(log):
        log.info("asked", authorization=f"Simple {secret}", api_key="abc123", path=f"/x/{secret}")
        try:
            raise ValueError(f"no {secret}")
        except ValueError:
            log.exception("failed")
        logging.getLogger("library").warning("got %s", secret)

    text = "\n".join(lines("info", format_, work))

    assert secret not in text
    assert "abc123" not in text
    assert text.count("[hidden]") >= 5
    assert "ValueError" in text


def test_what_is_less_important_is_not_written():
    def work(log):
        log.debug("call")
        log.info("start")
        logging.getLogger("library").info("chatter")
        logging.getLogger("library").warning("trouble")

    assert [json.loads(line)["event"] for line in lines("info", "json", work)] == [
        "start",
        "trouble",
    ]
    assert len(lines("debug", "json", work)) == 4
    assert lines("error", "json", work) == []


def test_lines_of_libraries_name_their_module():
    def work(log):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")

    (line,) = lines("info", "json", work)

    assert json.loads(line)["module"] == "uvicorn.error"


def test_addresses_with_signatures_in_them_are_not_written():
    def work(_log):
        for name in ("httpx2", "urllib3.connectionpool"):
            logging.getLogger(name).info("HTTP Request: GET http://h/c/b?sv=1&sig=a%%2Bb%s", "")

    assert "sig=a" not in "".join(lines("debug", "json", work))


def test_standard_output_stays_untouched(capsys):
    telemetry.configure("info", "logfmt", file=None)
    telemetry.logger("x").info("hello")

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "event=hello" in captured.err


def test_one_of_several_gateways_says_which_it_is():
    file = io.StringIO()
    telemetry.configure("info", "json", file=file, gateway=3)

    telemetry.logger("algorium_server.test").info("hello")
    logging.getLogger("library").warning("hello")

    assert [json.loads(line)["gateway"] for line in file.getvalue().splitlines()] == [3, 3]
