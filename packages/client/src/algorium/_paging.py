"""Lists that come in pages, gone through one entry at a time: pages are fetched as you go on."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from algorium._algorithm_flow import Page
from algorium._retry import Flow
from algorium._transport import AsyncTransport, SyncTransport

T = TypeVar("T")


def listed(transport: SyncTransport, page: Callable[[str], Flow[Page[T]]]) -> Iterator[T]:
    """
    Go through a list.

    Args:
        transport: Fetches.
        page: Makes the flow that reads the page behind a marker; the first one has none.
    """
    marker = ""
    while True:
        found = transport.run(page(marker))
        yield from found.results
        if not (marker := found.marker):
            return


async def listed_async(
    transport: AsyncTransport, page: Callable[[str], Flow[Page[T]]]
) -> AsyncIterator[T]:
    """Go through a list, as `listed`."""
    marker = ""
    while True:
        found = await transport.run(page(marker))
        for each in found.results:
            yield each
        if not (marker := found.marker):
            return
