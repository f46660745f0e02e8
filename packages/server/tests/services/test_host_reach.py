"""Hosts of source inside are reached if the operator says so, and by nobody else's word."""

import asyncio

import pytest

from algorium_server.build.providers.calling import Caller
from algorium_server.build.providers.provider import Request
from algorium_server.build.source.fetching import Fetching
from algorium_server.build.source.remotes import FetchFailed, Remote
from algorium_server.domain.errors import ScmUnreachable
from algorium_server.domain.scm_names import endpoint_of
from algorium_server.services.files.reaching import PUBLIC_PLACES, Reach, parse_places
from algorium_server.services.source.host_reach import HostReach

STRANGERS = HostReach(Reach(PUBLIC_PLACES))


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://github.com/api/v3?a=b", "https://github.com:443"),
        ("http://git.example:8080/x", "http://git.example:8080"),
        ("http://git.example", "http://git.example:80"),
        ("ssh://git@example.com", "https://example.com:22"),
        ("ssh://git@example.com:7999/a/b.git", "https://example.com:7999"),
        ("git@example.com:owner/name.git", "https://example.com:22"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
    ],
)
def test_an_address_is_on_a_server(url, endpoint):
    assert endpoint_of(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/api",
        "https://[::1]:8443/api",
        "https://[::ffff:10.0.0.1]/api",
        "ssh://git@10.1.2.3:22/a/b.git",
        "git@192.168.1.1:a/b.git",
        "https://localhost/api",
    ],
)
def test_what_is_inside_takes_the_operators_word(url):
    with pytest.raises(ScmUnreachable, match="may not be reached") as refused:
        asyncio.run(STRANGERS.check(url))

    assert "--connector-allow" in refused.value.hint


def test_what_the_operator_names_is_reached():
    allowed = HostReach(Reach((*PUBLIC_PLACES, *parse_places("10.0.0.0/8 127.0.0.1:7990"))))

    asyncio.run(allowed.check("ssh://git@10.1.2.3/a/b.git"))
    asyncio.run(allowed.check("http://127.0.0.1:7990/rest"))
    with pytest.raises(ScmUnreachable):
        asyncio.run(allowed.check("http://127.0.0.1:7991/rest"))


def test_nothing_is_sent_to_what_may_not_be_reached(tmp_path):
    async def story() -> list[str]:
        came: list[str] = []

        async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.append("a connection")
            writer.close()

        trap = await asyncio.start_server(note, "127.0.0.1", 0)
        port = trap.sockets[0].getsockname()[1]
        caller = Caller(STRANGERS.check)
        fetching = Fetching(tmp_path / "hosts", inherited={}, check=STRANGERS.check)

        def operation():
            yield Request(method="GET", url=f"http://127.0.0.1:{port}/user")

        with pytest.raises(ScmUnreachable):
            await caller.run(operation())
        for url in (f"http://127.0.0.1:{port}/a/b.git", f"ssh://git@127.0.0.1:{port}/a/b.git"):
            with pytest.raises(FetchFailed, match="--connector-allow"):
                await fetching.head(Remote(url=url, known_hosts="trap"))
        await caller.close()
        trap.close()
        await trap.wait_closed()
        return came

    assert asyncio.run(story()) == []
