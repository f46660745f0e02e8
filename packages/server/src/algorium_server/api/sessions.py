"""
Signing in with a browser, and sessions, over HTTP.

    POST, GET, DELETE  /v1/session
    GET                /v1/session/methods
    GET                /v1/session/oidc/start, /v1/session/oidc/finish
    GET, DELETE        /v1/users/{username}/sessions[/{id}]
    GET                /webapi/user

Whatever signs in or out is refused to pages of others: nobody is to find themselves signed in as
somebody else.

Source: wire specification, "Common request rules", "Cookie"; "Auxiliary routes". The rest is ours.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.credentials import Credentials
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, Query, described_query
from algorium_server.api.users import UserObject, user_object
from algorium_server.domain.errors import InvalidRequest, NotAuthenticated, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import SESSION_S_MAX, SIGN_IN_S_MAX
from algorium_server.domain.sessions import COOKIE, Session, SignInMethod, csrf_token
from algorium_server.services.people.provider_sign_in import ProviderSignIn, Return
from algorium_server.services.people.sessions import Browser, Sessions

_BEGUN_COOKIE: Final = "algorium_oidc"
_BEGUN_PATH: Final = "/v1/session/oidc"


class SignInBody(Body):
    """Who wants to sign in: `username` or `email`, and `password`."""

    username: str | None = None
    email: str | None = None
    password: str = Field(repr=False)


class SessionObject(BaseModel):
    """A session; `is_current` for the one that asks."""

    id: str
    method: str
    created_at: str
    last_used_at: str
    expires_at: str
    address: str
    user_agent: str
    is_current: bool
    resource_type: str = "session"


class SignedInObject(BaseModel):
    """Who is signed in; token and session are there for browsers only."""

    user: UserObject
    csrf_token: str | None = None
    session: SessionObject | None = None


class MethodsObject(BaseModel):
    """How people can sign in; `oidc` is where a browser begins, if there is a provider."""

    password: bool = True
    oidc: str | None = None


class SessionPage(BaseModel):
    """A page of sessions."""

    marker: str | None
    next_link: str | None
    results: list[SessionObject]


def session_routes(
    sessions: Sessions,
    credentials: Credentials,
    provider: ProviderSignIn | None,
    *,
    api: str,
) -> APIRouter:
    """
    Return the routes.

    Args:
        sessions: Does the work.
        credentials: Tells who asks, and which page.
        provider: Signs in at an identity provider; None if there is none.
        api: Base address, for links; says whether browsers come over TLS.
    """
    routes = APIRouter(tags=["sessions"])
    _add_session(routes, sessions, credentials, api)
    _add_provider(routes, sessions, credentials, provider, api)
    _add_lists(routes, sessions, api)
    return routes


def _add_session(routes: APIRouter, sessions: Sessions, credentials: Credentials, api: str) -> None:
    @routes.post("/v1/session", response_model=SignedInObject)
    async def sign_in(
        request: Request, body: Annotated[SignInBody, body_of(SignInBody)]
    ) -> Response:
        """
        Sign in with a password: sets the cookie, and tells the token for what changes something.

        What is wrong is not said. After some wrong passwords nothing is looked at for a while.
        """
        credentials.check_page(request.scope)
        name = body.username or body.email
        if not name:
            raise InvalidRequest("username or email is missing")
        signed_in = await sessions.sign_in(name, body.password, _browser(request, credentials))
        response = Answer(await _signed_in(sessions, signed_in.principal, signed_in.cookie, api))
        _set_cookie(response, request, signed_in.cookie, api)
        return response

    @routes.get("/v1/session", response_model=SignedInObject)
    async def who(request: Request, principal: Asking) -> Response:
        """Say who asks, and for browsers the token for what changes something."""
        cookie = credentials.cookie(request.scope) if principal.session_id else ""
        return Answer(await _signed_in(sessions, principal, cookie, api))

    @routes.delete("/v1/session", status_code=204)
    async def sign_out(request: Request) -> Response:
        """End the browser's session; one that has ended already is fine."""
        try:
            principal = await credentials.asking(request.scope)
        except NotAuthenticated:
            principal = None
        if principal is not None and not principal.session_id:
            raise InvalidRequest("only sessions end so; keys are deleted at /v1/users/.../keys")
        if principal is not None:
            await sessions.sign_out(principal)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return response

    @routes.get("/webapi/user", response_model=UserObject)
    async def user(principal: Asking) -> Response:
        """Say who asks, as pages of the old service's documentation want it."""
        return Answer(user_object(await sessions.user(principal), api))


def _add_provider(
    routes: APIRouter,
    sessions: Sessions,
    credentials: Credentials,
    provider: ProviderSignIn | None,
    api: str,
) -> None:
    @routes.get("/v1/session/methods", response_model=MethodsObject)
    async def methods() -> Response:
        """Say how people can sign in, to everybody."""
        oidc = f"{api}{_BEGUN_PATH}/start" if provider is not None else None
        return Answer({"password": True, "oidc": oidc})

    @routes.get(
        f"{_BEGUN_PATH}/start",
        status_code=303,
        openapi_extra=described_query(return_to="Path on this server to go to afterwards."),
    )
    async def start(request: Request, query: Query) -> Response:
        """Send the browser to the identity provider, where its user signs in."""
        departure = await _there(provider).start(query.get("return_to", ""))
        response = _redirect(departure.url)
        response.set_cookie(
            _BEGUN_COOKIE,
            departure.browser,
            max_age=int(SIGN_IN_S_MAX),
            path=_BEGUN_PATH,
            secure=_is_secure(request, api),
            httponly=True,
            samesite="lax",  # it must come along when the provider sends the browser back
        )
        return response

    @routes.get(f"{_BEGUN_PATH}/finish", status_code=303)
    async def finish(request: Request, query: Query) -> Response:
        """Take the browser back from the identity provider: sets the cookie, and goes on."""
        account, return_to = await _there(provider).finish(
            Return(
                code=query.get("code", ""),
                state=query.get("state", ""),
                issuer=query.get("iss", ""),
                error=query.get("error_description", "") or query.get("error", ""),
                browser=request.cookies.get(_BEGUN_COOKIE, ""),
            )
        )
        signed_in = await sessions.open(account, SignInMethod.OIDC, _browser(request, credentials))
        response = _redirect(return_to)
        response.delete_cookie(_BEGUN_COOKIE, path=_BEGUN_PATH)
        _set_cookie(response, request, signed_in.cookie, api)
        return response


def _add_lists(routes: APIRouter, sessions: Sessions, api: str) -> None:
    path = "/v1/users/{username}/sessions"

    @routes.get(path, response_model=SessionPage, openapi_extra=described_query(**PAGE))
    async def listed(username: str, principal: Asking, asked: Page) -> Response:
        """List the sessions of a user, oldest first: where somebody is signed in."""
        found = await sessions.listed(
            principal,
            username,
            after=pages.key_of_marker(asked.marker, (str, str)),
            limit=asked.limit + 1,
        )
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.created_at.isoformat(), last.session_id)),
            shown=lambda each: session_object(each, principal),
        )
        return Answer(body)

    @routes.delete(path, status_code=204)
    async def end_all(username: str, principal: Asking) -> Response:
        """End all sessions of a user, also the one that asks."""
        await sessions.end_all(principal, username)
        return Response(status_code=204)

    @routes.delete(f"{path}/{{session_id}}", status_code=204)
    async def end(username: str, session_id: str, principal: Asking) -> Response:
        """End a session of a user."""
        await sessions.end(principal, username, session_id)
        return Response(status_code=204)


def session_object(session: Session, principal: Principal) -> dict[str, Any]:
    """Return a session as clients know it."""
    return SessionObject(
        id=session.session_id,
        method=session.method,
        created_at=timestamp(session.created_at),
        last_used_at=timestamp(session.used_at),
        expires_at=timestamp(session.expires_at),
        address=session.address,
        user_agent=session.user_agent,
        is_current=session.session_id == principal.session_id,
    ).model_dump()


async def _signed_in(
    sessions: Sessions, principal: Principal, cookie: str, api: str
) -> dict[str, Any]:
    user = user_object(await sessions.user(principal), api)
    if not cookie:
        return {"user": user}
    session = await sessions.current(principal)
    return {
        "user": user,
        "csrf_token": csrf_token(cookie),
        "session": session_object(session, principal),
    }


def _there(provider: ProviderSignIn | None) -> ProviderSignIn:
    if provider is None:
        raise NotFound(
            "This server has no identity provider to sign in at.",
            hint="Its operator names one with --oidc-issuer and --oidc-client-id.",
        )
    return provider


def _browser(request: Request, credentials: Credentials) -> Browser:
    return Browser(
        address=request.client.host if request.client is not None else "",
        user_agent=request.headers.get("user-agent", ""),
        cookie=credentials.cookie(request.scope),
    )


def _is_secure(request: Request, api: str) -> bool:
    return api.startswith("https://") or request.url.scheme == "https"


def _set_cookie(response: Response, request: Request, value: str, api: str) -> None:
    response.set_cookie(
        COOKIE,
        value,
        max_age=int(SESSION_S_MAX),
        path="/",
        secure=_is_secure(request, api),
        httponly=True,
        samesite="lax",
    )


def _redirect(url: str) -> Response:
    response = Response(status_code=303)
    response.headers["Location"] = url
    response.headers["Cache-Control"] = "no-store"
    return response
