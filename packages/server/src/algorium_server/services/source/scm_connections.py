"""
Connections: what accounts have given us to act for them at source hosts.

Connecting in a browser has two halves. The first gives out a *state*, to be handed back by the
provider: it is used once, for a while, for one account and host. The second must come from who
began: with a key of the account, or with what the browser was given to keep. Otherwise somebody
could begin, have another person end it, and then work in that person's repositories.

Source: wire specification, "SCM object".
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from algorium_server.build.providers.calling import Caller, oauth_of
from algorium_server.domain.access import Refused
from algorium_server.domain.algorithms import INTERNAL_SCM
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    AlgoriumError,
    InvalidInput,
    InvalidRequest,
    NotAuthenticated,
    NotAuthorized,
    OAuthIncomplete,
    OAuthUnsupported,
    ScmDisabled,
    ScmNotConnected,
    ScmRejectsCredentials,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    OAUTH_STATE_S,
    OAUTH_STATES_PER_ACCOUNT_MAX,
)
from algorium_server.domain.scm_names import check_word
from algorium_server.domain.scms import (
    OAuthState,
    Provider,
    Scm,
    ScmCredentials,
    connection_object,
    may_connect,
)
from algorium_server.services.auditing import record
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.services.source.scms import Scms
from algorium_server.store import scms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

T = TypeVar("T")

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """
    The first half of a connection in a browser.

    Attributes:
        url: The provider's page.
        browser: What the browser keeps, and shows when it comes back.
    """

    url: str
    browser: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """
    What a browser brings back; empty where it brings nothing.

    Attributes:
        scm_id: Host in the address; empty in the address that all hosts share.
        browser: What it was given to keep.
        error: What the provider says instead of a code.
        principal: Whose key came along, if one did.
    """

    scm_id: str = ""
    code: str = ""
    state: str = ""
    browser: str = ""
    error: str = ""
    principal: Principal | None = None


class ScmConnections:
    """
    Use cases of connections.

    Args:
        database: Where they are kept.
        scms: Which hosts there are.
        access: Talks to them in the name of accounts.
        caller: Talks to them in ours.
        api: Base address of this server, which providers send browsers back to.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        scms: Scms,
        access: ScmAccess,
        caller: Caller,
        *,
        api: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._scms = scms
        self._access = access
        self._caller = caller
        self._api = api
        self._clock = clock

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this server over TLS."""
        return self._api.startswith("https://")

    async def start(self, principal: Principal, scm_id: str) -> Departure:
        """
        Begin a connection in a browser.

        Raises:
            NotAuthorized: The caller may not connect its account.
            OAuthUnsupported: The host is not connected so.
            ScmNotFound: There is no such host.
            ScmDisabled: It takes no new connections.
        """
        _check(principal)
        scm = self._host(scm_id)
        oauth = oauth_of(scm)
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        begun = OAuthState(
            digest=_digest(state),
            scm_id=scm.scm_id,
            account_id=principal.account.account_id,
            browser=_digest(browser),
            expires_at=self._clock() + timedelta(seconds=OAUTH_STATE_S),
        )
        async with self._database.transaction() as connection:
            await rows.add_state(connection, begun, limit=OAUTH_STATES_PER_ACCOUNT_MAX)
        url = oauth.authorize_url(redirect_uri=self._redirect_uri(scm), state=state)
        return Departure(url=url, browser=browser)

    async def finish(self, back: Return) -> dict[str, Any]:
        """
        End a connection in a browser; return its status as an object of the API.

        Raises:
            OAuthIncomplete: There is no code, or no such state any more.
            OAuthCodeRefused: The provider does not accept the code.
            NotAuthenticated: Whoever comes back did not begin.
            AlgoriumError: The provider refuses, fails, or does not answer.
        """
        if not back.code:
            words = "".join(letter for letter in back.error[:200] if letter.isprintable())
            raise OAuthIncomplete(f"the provider says: {words}" if words else "code is missing")
        account_id, scm = await self._taken(back)
        oauth = oauth_of(scm)
        credentials = await self._caller.run(
            oauth.exchange(
                back.code,
                secret=self._scms.client_secret(scm),
                redirect_uri=self._redirect_uri(scm),
                now=self._clock(),
            ),
            secrets=(back.code, self._scms.client_secret(scm)),
        )
        return connection_object(
            await self._access.keep(account_id, scm, credentials, by=back.principal)
        )

    async def connect(
        self, principal: Principal, scm_id: str, *, token: str, username: str, password: str
    ) -> dict[str, Any]:
        """
        Connect an account with a token that its user made, or with name and password.

        Returns:
            The connection's status as an object of the API.

        Raises:
            NotAuthorized: The caller may not connect its account.
            InvalidRequest: There is neither a token nor name and password.
            OAuthUnsupported: The host is the internal one.
            AlgoriumError: The provider refuses, fails, or does not answer.
        """
        _check(principal)
        scm = self._host(scm_id)
        given = given_credentials(scm, token=token, username=username, password=password)
        account_id = principal.account.account_id
        return connection_object(await self._access.keep(account_id, scm, given, by=principal))

    async def status(self, principal: Principal, scm_id: str) -> dict[str, Any]:
        """
        Return what the caller is at a host as an object of the API, as the host says it now.

        Raises:
            ScmNotFound: There is no such host.
        """
        if scm_id == INTERNAL_SCM:
            return connection_object(None)
        scm = self._scms.scm(scm_id)
        account_id = principal.account.account_id
        if principal.acting is not None:
            return connection_object(None)
        made = await self._access.made(account_id, scm)
        if made is None:
            return connection_object(None)
        try:
            profile = await self._access.ask(account_id, scm, lambda api, c: api.profile(c))
        except (ScmRejectsCredentials, ScmNotConnected):
            return connection_object(None)
        except AlgoriumError as error:
            _log.info("a source host does not say who somebody is", scm=scm_id, why=error.message)
            return connection_object(made.profile)
        return connection_object(profile)

    async def revoke(self, principal: Principal, scm_id: str) -> None:
        """
        Forget what the caller has given for a host, and have the host forget it as well.

        Raises:
            NotAuthorized: The caller may not do that.
            ScmNotFound: There is no such host.
            ScmNotConnected: There is nothing.
        """
        _check(principal)
        if scm_id == INTERNAL_SCM:
            raise ScmNotConnected
        scm = self._scms.scm(scm_id)
        account_id = principal.account.account_id
        made = await self._access.made(account_id, scm)
        async with self._database.transaction() as connection:
            is_gone = await rows.remove_connection(
                connection, account_id=account_id, scm_id=scm.scm_id
            )
            if is_gone:
                await record(
                    connection, principal, AuditAction.SCM_DISCONNECTED, f"scm:{scm.scm_id}"
                )
        if made is None or not is_gone:
            raise ScmNotConnected(f"you have not connected {scm.name or scm.scm_id}")
        credentials = self._access.opened(made)
        if not credentials.is_oauth:
            return  # its user made it, and decides what else it is for
        secret = self._scms.client_secret(scm)
        try:
            await self._caller.run(
                oauth_of(scm).revoke(credentials, secret=secret),
                secrets=(secret, *credentials.secrets),
            )
        except AlgoriumError as error:
            # Forgotten here, it is of no use to anybody any more.
            _log.info("a source host keeps a revoked token", scm=scm_id, why=error.message)

    async def _taken(self, back: Return) -> tuple[str, Scm]:
        """Use up the state; return for whom, and for which host."""
        principal = back.principal
        if principal is not None:
            _check(principal)
        if not back.state and principal is not None and back.scm_id:
            # A key says who it is, and no page can make a browser send one.
            return principal.account.account_id, self._host(back.scm_id)
        digest = _digest(back.state)
        async with self._database.transaction() as connection:
            begun = await rows.state(connection, digest) if back.state else None
            if begun is None or begun.expires_at < self._clock():
                raise OAuthIncomplete("state is missing, used up or too old: begin once more")
            if back.scm_id not in {"", begun.scm_id}:
                raise OAuthIncomplete("the state belongs to another source host")
            is_ours = principal is not None and principal.account.account_id == begun.account_id
            if not is_ours and not secrets.compare_digest(_digest(back.browser), begun.browser):
                raise NotAuthenticated(
                    "this browser did not begin the connection",
                    hint="Request this very address with the key of the account that began it.",
                )
            if not await rows.take_state(connection, digest):
                raise OAuthIncomplete("state is missing, used up or too old: begin once more")
        return begun.account_id, self._host(begun.scm_id)

    def _host(self, scm_id: str) -> Scm:
        if scm_id == INTERNAL_SCM:
            raise OAuthUnsupported("the internal source host needs no connection")
        scm = self._scms.scm(scm_id)
        if not scm.is_enabled:
            raise ScmDisabled
        return scm

    def _redirect_uri(self, scm: Scm) -> str:
        # GitLab compares it with what its application has; the old service documented this one.
        if scm.provider is Provider.GITLAB:
            return f"{self._api}/v1/scms/oauth/finish"
        return f"{self._api}/v1/scms/{scm.scm_id}/oauth/finish"


def given_credentials(scm: Scm, *, token: str, username: str, password: str) -> ScmCredentials:
    """
    Return credentials that somebody typed in.

    Raises:
        InvalidRequest: There is neither a token nor name and password.
        InvalidInput: The host takes no passwords, or a value cannot be right.
    """
    if token:
        return ScmCredentials(
            token=_ascii(token, "secretToken"), username=check_word(username, "username")
        )
    if not username or not password:
        raise InvalidRequest("give secretToken, or username and password")
    if scm.provider in {Provider.GITHUB, Provider.GITLAB}:
        raise InvalidInput(f"{scm.provider.label} takes no passwords: give a token as secretToken")
    return ScmCredentials(
        username=check_word(username, "username"), password=check_word(password, "password")
    )


def _ascii(text: str, what: str) -> str:
    if not text.isascii() or " " in text:
        raise InvalidInput(f"{what} must be a token, which is ASCII without spaces")
    return check_word(text, what)


def _check(principal: Principal) -> None:
    verdict = may_connect(principal)
    if isinstance(verdict, Refused):
        raise NotAuthorized(detail=verdict.reason)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
