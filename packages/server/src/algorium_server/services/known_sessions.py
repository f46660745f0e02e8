"""
Sessions in memory: who a browser's cookie belongs to, without a question to the database.

Part of the directory, and brought up to date with it. When a session is used is gathered here and
written later; it changes nothing that others keep, so calls stay as fast as they are.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from algorium_server.domain.sessions import Session, session_digest


class KnownSessions:
    """
    All sessions that have not ended.

    Args:
        clock: Says what time it is.

    Attributes:
        revision: Grows with every change, but not with uses.
        used: When sessions were used, by id, since somebody has taken that out.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.revision = 0
        self.used: dict[str, datetime] = {}
        self._sessions: dict[str, Session] = {}
        self._digests: dict[str, str] = {}

    def load(self, sessions: Iterable[tuple[Session, str]]) -> None:
        """Take in all there are, instead of what is known."""
        self._sessions = {}
        self._digests = {}
        for session, digest in sessions:
            self._sessions[digest] = session
            self._digests[session.session_id] = digest

    def __len__(self) -> int:
        return len(self._sessions)

    def of_cookie(self, cookie: str) -> Session | None:
        """Return the session of a cookie, and note its use; None if there is none any more."""
        session = self._sessions.get(session_digest(cookie))
        if session is None:
            return None
        now = self._clock()
        if session.has_ended(now, used_at=self.used.get(session.session_id)):
            return None
        self.used[session.session_id] = now
        return session

    def addresses_of(self, account_id: str) -> set[str]:
        """Return where an account has signed in from, as far as its sessions go on."""
        return {each.address for each in self._sessions.values() if each.account_id == account_id}

    def put(self, session: Session, *, digest: str) -> None:
        """Take in a new session, or a later use of one."""
        if self._sessions.get(digest) == session:
            return
        self.revision += 1
        self._sessions[digest] = session
        self._digests[session.session_id] = digest

    def remove(self, ids: Collection[str]) -> None:
        """Forget sessions: whoever shows their cookies is nobody from now on."""
        for session_id in ids:
            self.used.pop(session_id, None)
            digest = self._digests.pop(session_id, None)
            if digest is not None:
                self.revision += 1
                del self._sessions[digest]

    def remove_of(self, account_id: str) -> None:
        """Forget all sessions of an account."""
        self.remove(
            [each.session_id for each in self._sessions.values() if each.account_id == account_id]
        )
