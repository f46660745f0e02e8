"""
Source hosts over HTTP: `/v1/scms`, and `/v1/admin/scms` for administrators.

Browsers come to `oauth/finish` on their own, sent by a provider: what they were given to keep at
`oauth/start`, a cookie, says that they are the same.

Source: wire specification, "SCM object".
"""

from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from algorium_server.api.credentials import Credentials
from algorium_server.api.management import KNOWN, Answer, Asking, Body, body_of
from algorium_server.domain.errors import MethodNotAllowed, ScmChangeInvalid, ScmInvalid
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import OAUTH_STATE_S
from algorium_server.domain.scms import ScmUrls
from algorium_server.services.source.scm_connections import Return, ScmConnections
from algorium_server.services.source.scms import Scms, WantedScm

_COOKIE: Final = "algorium_scm"
_COOKIE_PATH: Final = "/v1/scms"


class UrlsBody(Body):
    """Addresses of a host: of its pages, its API, and its SSH server."""

    web: str
    api: str
    ssh: str


class OAuthBody(Body):
    """An OAuth application; the secret is never returned."""

    client_id: str | None = None
    client_secret: str | None = None


class ProjectBody(Body):
    """What the platform is at a host without OAuth: a project; or the same as in `oauth`."""

    project_key: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class ScmBody(Body):
    """A host of source, as an administrator describes it."""

    id: str | None = None
    provider: str | None = None
    name: str | None = None
    enabled: bool | None = None
    urls: UrlsBody | None = None
    oauth: OAuthBody | None = None
    scm: ProjectBody | None = None


class TokenBody(Body):
    """What a user has made or has at a host: a token, or name and password."""

    secretToken: str | None = None  # noqa: N815 - the wire's
    username: str | None = None
    password: str | None = None


class ScmObject(BaseModel):
    """A host of source."""

    id: str
    provider: str
    name: str
    default: bool
    enabled: bool
    urls: UrlsBody | None = None
    oauth: dict[str, str] | None = None
    scm: dict[str, str] | None = None


class ScmList(BaseModel):
    """All hosts of source, the internal one first."""

    results: list[ScmObject]


class ScmOrganizationObject(BaseModel):
    """An organization at a host; its name has two spellings, for clients of different ages."""

    scm_org_username: str
    scm_username: str
    access_level: str


class ConnectionObject(BaseModel):
    """What an account is at a host."""

    authorization_status: str
    scm_username: str | None = None
    scm_organizations: list[ScmOrganizationObject] | None = None


def scm_routes(scms: Scms, connections: ScmConnections) -> APIRouter:
    """Return the routes for everybody; the services do the work."""
    routes = APIRouter(prefix="/v1/scms", tags=["source hosts"])

    @routes.get("", response_model=ScmList, dependencies=[KNOWN])
    async def hosts() -> Response:
        """List the hosts of source, enabled or not."""
        return Answer({"results": scms.objects()})

    # Before the routes with an id: browsers come here from providers that compare addresses.
    @routes.get("/oauth/finish", response_model=ConnectionObject)
    async def finish_anywhere(request: Request) -> Response:
        """End a connection in a browser; the state says to which host."""
        return await _finished(request, connections, "")

    @routes.get("/{scm_id}", response_model=ScmObject, dependencies=[KNOWN])
    async def host(scm_id: str) -> Response:
        """Describe a host of source."""
        return Answer(scms.object(scm_id))

    @routes.get("/{scm_id}/oauth/start", status_code=303)
    async def start(scm_id: str, request: Request, principal: Asking) -> Response:
        """Send the browser to the host, where its user connects the account."""
        departure = await connections.start(principal, scm_id)
        response = Response(status_code=303)
        response.headers["Location"] = departure.url
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            _COOKIE,
            departure.browser,
            max_age=int(OAUTH_STATE_S),
            path=_COOKIE_PATH,
            secure=connections.is_secure or request.url.scheme == "https",
            httponly=True,
            samesite="lax",  # it must come along when the host sends the browser back
        )
        return response

    @routes.get("/{scm_id}/oauth/finish", response_model=ConnectionObject)
    async def finish(scm_id: str, request: Request) -> Response:
        """End a connection in a browser."""
        return await _finished(request, connections, scm_id)

    @routes.get("/{scm_id}/oauth/status", response_model=ConnectionObject)
    @routes.get("/{scm_id}/token/status", response_model=ConnectionObject)
    @routes.post("/{scm_id}/token/status", response_model=ConnectionObject)
    async def status(scm_id: str, principal: Asking) -> Response:
        """Say what the caller is at a host."""
        return Answer(await connections.status(principal, scm_id))

    @routes.get("/{scm_id}/oauth/revoke", status_code=204)
    @routes.post("/{scm_id}/oauth/revoke", status_code=204)
    async def revoke(scm_id: str, request: Request, principal: Asking) -> Response:
        """End the caller's connection to a host."""
        if request.method == "GET" and principal.session_id:
            # Any page can make a browser follow a link, and its cookie goes along.
            raise MethodNotAllowed("POST this, when you are signed in with a browser")
        await connections.revoke(principal, scm_id)
        return Response(status_code=204)

    @routes.post("/{scm_id}/token/connect", response_model=ConnectionObject)
    async def connect(
        scm_id: str, principal: Asking, body: Annotated[TokenBody, body_of(TokenBody)]
    ) -> Response:
        """Connect the caller to a host with a token, or with name and password."""
        status = await connections.connect(
            principal,
            scm_id,
            token=body.secretToken or "",
            username=body.username or "",
            password=body.password or "",
        )
        return Answer(status)

    return routes


def scm_admin_routes(scms: Scms) -> APIRouter:
    """Return the routes for administrators; *scms* does the work."""
    routes = APIRouter(prefix="/v1/admin/scms", tags=["source hosts"])

    @routes.post("", status_code=201, response_model=ScmObject)
    async def create(
        principal: Asking, body: Annotated[ScmBody, body_of(ScmBody, refusal=ScmInvalid)]
    ) -> Response:
        """Add a host of source."""
        return Answer(await scms.create(principal, _wanted(body)), 201)

    @routes.patch("/{scm_id}", response_model=ScmObject)
    async def change(
        scm_id: str,
        principal: Asking,
        body: Annotated[ScmBody, body_of(ScmBody, refusal=ScmChangeInvalid)],
    ) -> Response:
        """Change a host of source; what is not said stays."""
        return Answer(await scms.change(principal, scm_id, _wanted(body)))

    @routes.delete("/{scm_id}", status_code=204)
    async def remove(scm_id: str, principal: Asking) -> Response:
        """Remove a host of source that is disabled and not used."""
        await scms.remove(principal, scm_id)
        return Response(status_code=204)

    @routes.post("/{scm_id}/default", status_code=204)
    async def make_default(scm_id: str, principal: Asking) -> Response:
        """Make a host of source the default for new algorithms."""
        await scms.set_default(principal, scm_id)
        return Response(status_code=204)

    return routes


async def _finished(request: Request, connections: ScmConnections, scm_id: str) -> Response:
    query = request.query_params
    status = await connections.finish(
        Return(
            scm_id=scm_id,
            code=query.get("code", ""),
            state=query.get("state", ""),
            browser=request.cookies.get(_COOKIE, ""),
            error=query.get("error_description", "") or query.get("error", ""),
            principal=await _principal_or_nobody(request),
        )
    )
    response = Answer(status)
    response.delete_cookie(_COOKIE, path=_COOKIE_PATH)
    return response


async def _principal_or_nobody(request: Request) -> Principal | None:
    if "authorization" not in request.headers:
        return None
    credentials: Credentials = request.app.state.credentials
    return await credentials.asking(request.scope)


def _wanted(body: ScmBody) -> WantedScm:
    oauth = body.oauth or OAuthBody()
    scm = body.scm or ProjectBody()
    return WantedScm(
        scm_id=body.id,
        provider=body.provider,
        name=body.name,
        is_enabled=body.enabled,
        urls=ScmUrls(**body.urls.model_dump()) if body.urls is not None else None,
        client_id=oauth.client_id or scm.project_key or scm.client_id,
        client_secret=oauth.client_secret or scm.client_secret,
    )
