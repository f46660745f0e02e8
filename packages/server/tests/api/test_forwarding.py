"""What the application sees of requests that came through proxies."""

import io
import json

import pytest

from algorium_server import telemetry
from algorium_server.api.forwarding import forwarding
from algorium_server.domain.proxies import NO_PROXIES, Proxies, parse_proxies

PROXY, CALLER, STRANGER = "10.0.0.2", "203.0.113.7", "198.51.100.9"
OURS = Proxies(networks=parse_proxies("10.0.0.0/8"))
LIED = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https")]


@pytest.fixture
def log():
    stream = io.StringIO()
    telemetry.configure("info", "json", file=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def seen(runner, proxies, *requests):
    """Return client and scheme of each request, as the application sees them."""
    found = []

    async def app(scope, _receive, _send):
        found.append((scope["client"][0] if scope["client"] else None, scope["scheme"]))

    async def story():
        wrapped = forwarding(app, proxies)
        for peer, headers in requests:
            client = (peer, 4711) if peer else None
            scope = {"type": "http", "client": client, "scheme": "http", "headers": headers}
            await wrapped(scope, None, None)

    runner.run(story())
    return found


def test_only_a_named_proxy_says_who_asks_and_over_what(runner, log):
    written = [*LIED, (b"x-forwarded-for", CALLER.encode()), (b"x-forwarded-proto", b"https")]

    assert seen(
        runner, OURS, (PROXY, written), (STRANGER, written), (PROXY, []), (None, LIED), (CALLER, [])
    ) == [
        (CALLER, "https"),
        (STRANGER, "http"),
        (PROXY, "http"),
        (None, "http"),
        (CALLER, "http"),
    ]


def test_a_proxy_that_nobody_named_is_told_of_once(runner, log):
    answers = seen(runner, NO_PROXIES, (STRANGER, []), (PROXY, LIED), (STRANGER, LIED))

    assert answers == [(STRANGER, "http"), (PROXY, "http"), (STRANGER, "http")]
    (line,) = log()
    assert (line["level"], line["address"]) == ("warning", PROXY)
    assert "--trusted-proxies" in line["event"]
