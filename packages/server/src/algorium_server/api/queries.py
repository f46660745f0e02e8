"""
Query parameters of the management API: read leniently, and described in its document.

Clients of the old service send flags in any case, unknown names, and a second `?` for `&`; so the
query is read here, and FastAPI only learns what to write about it.

Source: wire specification, "Common request rules", "Pagination".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request

from algorium_server.api import pages
from algorium_server.api.http import boolean, parse_query
from algorium_server.domain.limits import (
    MANAGEMENT_PAGE_ENTRIES_MAX,
    MANAGEMENT_PAGE_ENTRIES_MAX_DEFAULT,
)

T = TypeVar("T")

PAGE: Final = {
    "limit": f"Entries on a page: 1 to {MANAGEMENT_PAGE_ENTRIES_MAX}.",
    "marker": "Where to go on: from the page before.",
}
"""Parameters of lists that come in pages."""


def described_query(**descriptions: str) -> dict[str, Any]:
    """Return what the API's document says of a route's query, for `openapi_extra`."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in descriptions.items()
        ]
    }


def _query(request: Request) -> dict[str, str]:
    return parse_query(request.scope)


Query = Annotated[dict[str, str], Depends(_query)]
"""The query of a request, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked:
    """
    Which page of a list somebody wants.

    Attributes:
        path: Of the request, for the link to the next page.
        query: All of the request's, for the same.
    """

    limit: int
    marker: str
    path: str
    query: dict[str, str]

    @property
    def after_name(self) -> str:
        """Behind which name it begins, in lists by name; empty for the first page."""
        key = pages.key_of_marker(self.marker, (str,))
        return key[0] if key is not None else ""

    def body(
        self,
        found: Sequence[T],
        *,
        api: str,
        marker_of: Callable[[T], str],
        shown: Callable[[T], Any],
    ) -> dict[str, Any]:
        """
        Return the body of the page.

        Args:
            found: Entries of the page, and one more if there are any.
            api: Base address, for the link to the next page.
            marker_of: Makes a marker that goes on behind an entry.
            shown: Makes JSON of an entry.
        """
        entries, last = pages.cut(found, self.limit)
        marker = "" if last is None else marker_of(last)
        link = pages.next_link(api, self.path, self.query, marker)
        return pages.body(map(shown, entries), marker=marker, link=link)


def _page(request: Request, query: Query) -> PageAsked:
    limit = pages.parse_limit(
        query.get("limit", ""),
        default=MANAGEMENT_PAGE_ENTRIES_MAX_DEFAULT,
        limit_max=MANAGEMENT_PAGE_ENTRIES_MAX,
    )
    return PageAsked(
        limit=limit, marker=query.get("marker", ""), path=request.url.path, query=query
    )


Page = Annotated[PageAsked, Depends(_page)]
"""The page that a request wants; `InvalidLimit` if it cannot be that long."""


def flag(text: str) -> bool | None:
    """Read a filter: yes, no, or None if it is not set."""
    if text.strip().lower() in {"true", "1", "false", "0"}:
        return boolean(text)
    return None
