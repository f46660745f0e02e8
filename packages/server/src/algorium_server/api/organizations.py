"""
Organizations over HTTP: themselves, their members, their types.

    /v1/organizations[/{org}[/members[/{username}]]]
    /v1/organization/types[/{name}]

Source: wire specification, "Organizations", "Organization types", "Members".
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import AlgorithmName
from algorium_server.api.management import KNOWN, Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Page, described_query
from algorium_server.domain.errors import MalformedOrganization
from algorium_server.domain.identity import Role
from algorium_server.domain.organizations import (
    Member,
    Organization,
    WantedOrganization,
    groups_of,
)
from algorium_server.services.people.organization_types import OrganizationTypes
from algorium_server.services.people.organizations import Organizations

Groups = str | list[str]


class OrganizationBody(Body):
    """
    An organization as somebody describes it; groups are lists, or texts with commas.

    Whole objects are sent back by clients: name, id and links in them change nothing.
    """

    org_name: str | None = None
    org_label: str | None = None
    org_contact_name: str | None = None
    org_email: str | None = None
    org_url: str | None = None
    type_id: str | None = None
    external_id: str | None = None
    external_admin_group: Groups | None = None
    external_admin_group_id: Groups | None = None
    external_member_group: Groups | None = None
    external_member_group_id: Groups | None = None
    external_executor_group: Groups | None = None
    owner_ids: list[str] | None = None

    def wanted(self) -> WantedOrganization:
        """Return what is said."""
        return WantedOrganization(
            name=self.org_name,
            label=self.org_label,
            contact_name=self.org_contact_name,
            email=self.org_email,
            url=self.org_url,
            type_id=self.type_id,
            external_id=self.external_id,
            external_admin_group=_groups(self.external_admin_group, self.external_admin_group_id),
            external_member_group=_groups(
                self.external_member_group, self.external_member_group_id
            ),
            external_executor_group=_groups(self.external_executor_group),
            owner_ids=None if self.owner_ids is None else tuple(self.owner_ids),
        )


class OrganizationObject(BaseModel):
    """An organization; clients need every text, an empty one if there is nothing."""

    id: str
    org_name: str
    org_label: str
    org_contact_name: str
    org_email: str
    org_url: str
    type_id: str
    external_id: str
    external_admin_group: str
    external_member_group: str
    external_executor_group: str
    org_created_at: str
    stripe_customer_id: str | None = None
    owner_ids: list[str] | None = None
    resource_type: str = "organization"
    self_link: str


class OrganizationPage(BaseModel):
    """A page of organizations."""

    marker: str | None
    next_link: str | None
    results: list[OrganizationObject]


class MemberBody(Body):
    """What a user is to be in an organization; a new one is a member if nothing is said."""

    role: Role | None = None


class MemberObject(BaseModel):
    """
    A user in an organization.

    Attributes:
        role: As clients know it: executors are members there.
        organization_role: What it really is.
    """

    username: str
    role: str
    organization_role: str
    user_link: str
    resource_type: str = "organization_member"


class MemberPage(BaseModel):
    """A page of members."""

    marker: str | None
    next_link: str | None
    results: list[MemberObject]


class TypeBody(Body):
    """A new type of organization."""

    name: str


class TypeObject(BaseModel):
    """A type of organization."""

    id: str
    name: str


def organization_routes(
    organizations: Organizations, kinds: OrganizationTypes, *, api: str
) -> APIRouter:
    """
    Return the routes.

    Args:
        organizations: Does the work.
        kinds: Does that of types.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["organizations"])

    @routes.get(
        "/v1/organizations",
        response_model=OrganizationPage,
        openapi_extra=described_query(**PAGE),
    )
    async def page(principal: Asking, asked: Page) -> Response:
        """List organizations by name; for administrators."""
        found = await organizations.page(principal, after=asked.after_name, limit=asked.limit + 1)
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.account.username,)),
            shown=lambda each: organization_object(each, api),
        )
        return Answer(body)

    @routes.post("/v1/organizations", response_model=OrganizationObject)
    async def create(
        principal: Asking,
        body: Annotated[OrganizationBody, body_of(OrganizationBody, refusal=MalformedOrganization)],
    ) -> Response:
        """Create an organization; for administrators. Whoever asks owns it, or `owner_ids`."""
        made = await organizations.create(principal, body.wanted())
        return Answer(organization_object(made, api))

    @routes.get(
        "/v1/organizations/externalId/{external_id:path}", response_model=OrganizationObject
    )
    async def of_external_id(external_id: str, principal: Asking) -> Response:
        """Return the organization that the company's own directory calls so."""
        found = await organizations.of_external_id(principal, external_id)
        return Answer(organization_object(found, api))

    @routes.get("/v1/organizations/{org}", response_model=OrganizationObject)
    async def get(org: str, principal: Asking) -> Response:
        """Return an organization to its members and to administrators."""
        return Answer(organization_object(await organizations.organization(principal, org), api))

    @routes.put("/v1/organizations/{org}", status_code=204)
    async def update(
        org: str,
        principal: Asking,
        body: Annotated[OrganizationBody, body_of(OrganizationBody, refusal=MalformedOrganization)],
    ) -> Response:
        """Change an organization; what is left out stays."""
        await organizations.update(principal, org, body.wanted())
        return Response(status_code=204)

    @routes.delete("/v1/organizations/{org}", status_code=204)
    async def delete(org: str, principal: Asking) -> Response:
        """Delete an organization with its private algorithms and its data."""
        await organizations.delete(principal, org)
        return Response(status_code=204)

    @routes.get("/v1/organizations/{org}/utility-algorithms", response_model=list[AlgorithmName])
    async def utility_algorithms(org: str, principal: Asking) -> Response:
        """List the algorithms of an organization that the caller may see."""
        account, found = organizations.utility_algorithms(principal, org)
        named = (
            AlgorithmName(id=each.algorithm_id, algoname=each.name, username=account.username)
            for each in found
        )
        return Answer([each.model_dump() for each in named])

    _add_members(routes, organizations, api)
    _add_types(routes, kinds)
    return routes


def _add_members(routes: APIRouter, organizations: Organizations, api: str) -> None:
    @routes.get(
        "/v1/organizations/{org}/members",
        response_model=MemberPage,
        openapi_extra=described_query(**PAGE),
    )
    async def members(org: str, principal: Asking, asked: Page) -> Response:
        """List members by name."""
        found = await organizations.members(
            principal, org, after=asked.after_name, limit=asked.limit + 1
        )
        body = asked.body(
            found,
            api=api,
            marker_of=lambda last: pages.marker_of((last.user.username,)),
            shown=lambda each: _member_object(each, api),
        )
        return Answer(body)

    @routes.put(
        "/v1/organizations/{org}/members/{username}",
        response_class=Response,
        responses={201: {"description": "The user was no member before."}},
    )
    async def put_member(
        org: str,
        username: str,
        principal: Asking,
        body: Annotated[MemberBody, body_of(MemberBody)],
    ) -> Response:
        """Make a user a member, or change the role: `owner`, `member` or `executor`."""
        is_new = await organizations.put_member(principal, org, username, body.role)
        return Response(status_code=201 if is_new else 200)

    @routes.delete("/v1/organizations/{org}/members/{username}", status_code=204)
    async def remove_member(org: str, username: str, principal: Asking) -> Response:
        """End a membership; whoever is no member stays none."""
        await organizations.remove_member(principal, org, username)
        return Response(status_code=204)


def _add_types(routes: APIRouter, kinds: OrganizationTypes) -> None:
    @routes.get("/v1/organization/types", response_model=list[TypeObject], dependencies=[KNOWN])
    async def types() -> Response:
        """List types of organizations."""
        found = await kinds.all()
        return Answer([{"id": each.type_id, "name": each.name} for each in found])

    @routes.post("/v1/organization/types", response_model=TypeObject)
    async def create_type(
        principal: Asking, body: Annotated[TypeBody, body_of(TypeBody)]
    ) -> Response:
        """Create a type; for administrators."""
        made = await kinds.create(principal, body.name)
        return Answer({"id": made.type_id, "name": made.name})

    @routes.delete("/v1/organization/types/{name}", status_code=204)
    async def delete_type(name: str, principal: Asking) -> Response:
        """Delete a type of which there is no organization; for administrators."""
        await kinds.delete(principal, name)
        return Response(status_code=204)


def organization_object(organization: Organization, api: str) -> dict[str, Any]:
    """Return an organization as clients know it."""
    account, profile = organization.account, organization.profile
    return OrganizationObject(
        id=account.account_id,
        org_name=account.username,
        org_label=account.fullname,
        org_contact_name=profile.contact_name,
        org_email=account.email,
        org_url=profile.url,
        type_id=profile.type_id,
        external_id=profile.external_id,
        external_admin_group=profile.external_admin_group,
        external_member_group=profile.external_member_group,
        external_executor_group=profile.external_executor_group,
        org_created_at=_created(account.created_at),
        self_link=f"{api}/v1/organizations/{account.username}",
    ).model_dump()


_ROLES: Final = {Role.OWNER: "owner", Role.MEMBER: "member", Role.EXECUTOR: "member"}


def _member_object(member: Member, api: str) -> dict[str, Any]:
    return MemberObject(
        username=member.user.username,
        role=_ROLES[member.role],
        organization_role=member.role,
        user_link=f"{api}/v1/users/{member.user.username}",
    ).model_dump()


def _created(moment: datetime) -> str:
    """Return a time as organizations have it: neither fraction nor zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _groups(*spellings: Groups | None) -> str | None:
    said = next((each for each in spellings if each is not None), None)
    return None if said is None else groups_of(said)
