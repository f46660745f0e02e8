"""Browsers that users are signed in with: `client.sessions`."""

from collections.abc import AsyncIterator, Iterator

from algorium import _account_flow
from algorium._algorithm_flow import PAGE_MAX
from algorium._paging import listed, listed_async
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.accounts import SessionInfo


class Sessions:
    """
    Browsers that you are signed in with; for administrators those of anybody.

    See `Algorium.sessions`. Keys are none of them: those are in `Algorium.keys`.

    Example:
        for session in client.sessions.list():
            print(session.last_used_at, session.address, session.user_agent)
        client.sessions.end_all()
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self, username: str = "", *, page: int = PAGE_MAX) -> Iterator[SessionInfo]:
        """
        Go through where a user is signed in, oldest first.

        Args:
            username: For administrators any; you, if left out.
            page: Sessions to fetch at once, at most 1000; pages are fetched as you go on.

        Raises:
            AccountNotFound: There is no such user, or not for you.
        """
        return listed(
            self._transport, lambda marker: _account_flow.sessions(username, marker, page)
        )

    def end(self, session_id: str, *, username: str = "") -> None:
        """
        End a session: that browser is signed out.

        Args:
            session_id: From `list`.
            username: For administrators any; you, if left out.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_account_flow.end_sessions(username, session_id))

    def end_all(self, username: str = "") -> None:
        """
        End all sessions of a user; keys stay as they are.

        Args:
            username: For administrators any; you, if left out.

        Raises:
            NotFound: There is no such user, or not for you.
        """
        self._transport.run(_account_flow.end_sessions(username))


class AsyncSessions:
    """Browsers that you are signed in with; see `Sessions`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, username: str = "", *, page: int = PAGE_MAX) -> AsyncIterator[SessionInfo]:
        """Go through where a user is signed in, as `Sessions.list`."""
        return listed_async(
            self._transport, lambda marker: _account_flow.sessions(username, marker, page)
        )

    async def end(self, session_id: str, *, username: str = "") -> None:
        """End a session, as `Sessions.end`."""
        await self._transport.run(_account_flow.end_sessions(username, session_id))

    async def end_all(self, username: str = "") -> None:
        """End all sessions of a user, as `Sessions.end_all`."""
        await self._transport.run(_account_flow.end_sessions(username))
