"""
API keys over HTTP.

    GET, POST  /v1/users/{username}/keys            and of organizations
    POST       /v1/users/{username}/keys/{id}/rotate
    DELETE     /v1/users/{username}/keys/{id}
    POST       /v1/admin/users/{username}/keys
    POST       /v1/organizations/{org}/members/{username}/keys

The value of a key is in the answer that creates it, and in no other.

Source: wire specification, "API keys"; rotating and deleting are ours.
"""

from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.times import UtcTime
from algorium_server.domain.identity import Account, AccountKind, KeyKind, KeyPermissions
from algorium_server.domain.keys import ListedKey, WantedKey, mask_of
from algorium_server.domain.limits import KEY_GRACE_S_DEFAULT
from algorium_server.services.people.accounts import NewKey
from algorium_server.services.people.keys import Keys


class PermissionsBody(Body):
    """What a key may be used for; what is left out is as for every new key."""

    allow_algo: bool | None = None
    algo_acl: list[str] | None = None
    allow_web_algo: bool | None = None
    referer_host: str | None = None
    allow_data: bool | None = None
    allow_data_write: bool | None = None
    allow_algo_management: bool | None = None

    def permissions(self, kind: KeyKind) -> KeyPermissions:
        """Return them all."""
        said = {name: value for name, value in self.model_dump().items() if value is not None}
        if self.algo_acl is not None:
            said["algo_acl"] = tuple(self.algo_acl)
        return replace(KeyPermissions(allow_algo_management=kind is KeyKind.MANAGEMENT), **said)


class KeyBody(Body):
    """A new key; without `permissions` it may what its label and type imply."""

    key_type: KeyKind | None = None
    key_label: str | None = None
    permissions: PermissionsBody | None = None
    expires_at: UtcTime | None = None

    def wanted(self) -> WantedKey:
        """Return what is said."""
        kind = self.key_type or KeyKind.STANDARD
        return WantedKey(
            kind=kind,
            label=self.key_label or "",
            permissions=None if self.permissions is None else self.permissions.permissions(kind),
            expires_at=self.expires_at,
        )


class BroughtKeyBody(KeyBody):
    """A key whose value, `api_key`, comes from elsewhere."""

    api_key: str | None = None


class RotationBody(Body):
    """How long the old value stays valid, in seconds; a day if nothing is said."""

    grace_seconds: float | None = None


class PermissionsObject(BaseModel):
    """What a key may be used for."""

    allow_algo: bool
    algo_acl: list[str]
    allow_web_algo: bool
    referer_host: str | None = None
    allow_data: bool
    allow_data_write: bool
    allow_algo_management: bool


class KeyObject(BaseModel):
    """A key."""

    key_id: str
    username: str
    owner_name: str
    key_label: str
    key_type: str
    api_key: str = Field(description="Its value, in the answer that creates it; else the mask.")
    api_key_mask: str
    created_at: str
    expires_at: str | None = None
    last_used_at: str | None = Field(default=None, description="To the minute.")
    permissions: PermissionsObject


_OWNERS: Final = {
    AccountKind.USER: "/v1/users/{owner}/keys",
    AccountKind.ORGANIZATION: "/v1/organizations/{owner}/keys",
}


def key_routes(keys: Keys) -> APIRouter:
    """Return the routes; *keys* does the work."""
    routes = APIRouter(tags=["keys"])
    for kind, path in _OWNERS.items():
        _add_keys_of(routes, keys, kind, path)

    @routes.post("/v1/admin/users/{username}/keys", response_model=KeyObject)
    async def bring(
        username: str, principal: Asking, body: Annotated[BroughtKeyBody, body_of(BroughtKeyBody)]
    ) -> Response:
        """Create a key of a user with a value from elsewhere; for administrators."""
        made = await keys.bring(principal, username, body.wanted(), body.api_key or "")
        return Answer(new_key_object(*made))

    @routes.post(
        "/v1/organizations/{org}/members/{username}/keys",
        status_code=201,
        response_model=KeyObject,
    )
    async def create_for_member(
        org: str,
        username: str,
        principal: Asking,
        body: Annotated[KeyBody, body_of(KeyBody)],
    ) -> Response:
        """Create a key of a member of an organization; for administrators."""
        made = await keys.create_for_member(principal, org, username, body.wanted())
        return Answer(new_key_object(*made), 201)

    return routes


def _add_keys_of(routes: APIRouter, keys: Keys, kind: AccountKind, path: str) -> None:
    @routes.get(path, response_model=list[KeyObject], operation_id=f"keys_of_{kind}")
    async def of_account(owner: str, principal: Asking) -> Response:
        """List keys, oldest first, without their values."""
        account, found = await keys.keys(principal, kind, owner)
        return Answer([key_object(account, each) for each in found])

    @routes.post(path, response_model=KeyObject, operation_id=f"create_key_of_{kind}")
    async def create(
        owner: str, principal: Asking, body: Annotated[KeyBody, body_of(KeyBody)]
    ) -> Response:
        """Create a key that may no more than the one that is shown."""
        return Answer(new_key_object(*await keys.create(principal, kind, owner, body.wanted())))

    @routes.post(
        f"{path}/{{key_id}}/rotate",
        response_model=KeyObject,
        operation_id=f"rotate_key_of_{kind}",
    )
    async def rotate(
        owner: str,
        key_id: str,
        principal: Asking,
        body: Annotated[RotationBody, body_of(RotationBody)],
    ) -> Response:
        """Create a key that may the same as an old one, which ends after a while."""
        said = body.grace_seconds
        grace_s = KEY_GRACE_S_DEFAULT if said is None else said
        made = await keys.rotate(principal, kind, owner, key_id, grace_s=grace_s)
        return Answer(new_key_object(*made))

    @routes.delete(f"{path}/{{key_id}}", status_code=204, operation_id=f"delete_key_of_{kind}")
    async def delete(owner: str, key_id: str, principal: Asking) -> Response:
        """Delete a key: whoever shows it is refused from now on."""
        await keys.delete(principal, kind, owner, key_id)
        return Response(status_code=204)


def new_key_object(account: Account, new: NewKey) -> dict[str, Any]:
    """Return a key with its value, this once."""
    shown = key_object(account, ListedKey(key=new.key, mask=mask_of(new.secret)))
    return shown | {"api_key": new.secret}


def key_object(account: Account, listed: ListedKey) -> dict[str, Any]:
    """Return a key as clients know it, without its value."""
    key = listed.key
    permissions = key.permissions
    return KeyObject(
        key_id=key.key_id,
        username=account.username,
        owner_name=account.fullname or account.username,
        key_label=key.label,
        key_type=key.kind,
        api_key=listed.mask,
        api_key_mask=listed.mask,
        created_at=timestamp(key.created_at),
        expires_at=None if key.expires_at is None else timestamp(key.expires_at),
        last_used_at=None if listed.used_at is None else timestamp(listed.used_at),
        permissions=PermissionsObject(
            allow_algo=permissions.allow_algo,
            algo_acl=list(permissions.algo_acl),
            allow_web_algo=permissions.allow_web_algo,
            referer_host=permissions.referer_host or None,
            allow_data=permissions.allow_data,
            allow_data_write=permissions.allow_data_write,
            allow_algo_management=permissions.allow_algo_management,
        ),
    ).model_dump(exclude_none=True)
