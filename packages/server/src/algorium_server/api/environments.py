"""
Languages and environments over HTTP: `/v1/algorithm-environments/edge`.

Source: wire specification, "Languages and environments".
"""

from typing import Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api.http import encode_json
from algorium_server.api.management import KNOWN, Answer, Asking
from algorium_server.api.queries import Query, described_query
from algorium_server.domain.offers import Environment, OfferedLanguage
from algorium_server.services.authoring.environments import EnvironmentCatalog, OfferedEnvironment

_CREATED_AT: Final = "2026-01-01T00:00:00.000"
"""EnvironmentCatalog are as old as their names; clients parse this form, without a zone."""


class LanguageObject(BaseModel):
    """A language; `configuration` is JSON in a string."""

    name: str
    display_name: str
    configuration: str


class EnvironmentObject(BaseModel):
    """An environment; `enabled` and `reason` are told to administrators only."""

    id: str
    environment_specification_id: str
    display_name: str
    description: str
    created_at: str
    language: LanguageObject
    machine_type: str
    enabled: bool | None = None
    reason: str | None = None


class EnvironmentList(BaseModel):
    """What can be chosen in one language, the default first."""

    environments: list[EnvironmentObject]


def environment_routes(environments: EnvironmentCatalog) -> APIRouter:
    """Return the routes; *environments* does the work."""
    routes = APIRouter(prefix="/v1/algorithm-environments/edge", tags=["environments"])

    @routes.get("/languages", response_model=list[LanguageObject], dependencies=[KNOWN])
    async def languages() -> Response:
        """List the languages."""
        return Answer([_dumped(language_object(each)) for each in environments.languages()])

    @routes.get(
        "/languages/{language}/environments",
        response_model=EnvironmentList,
        dependencies=[KNOWN],
    )
    async def of_language(language: str) -> Response:
        """List the environments of a language that can be chosen."""
        found = await environments.of_language(language)
        return Answer({"environments": [_dumped(environment_object(each)) for each in found]})

    @routes.get("/environments/available", response_model=list[EnvironmentObject])
    async def available(principal: Asking) -> Response:
        """List all environments, enabled or not; for administrators."""
        return Answer([_dumped(_offered(each)) for each in await environments.available(principal)])

    @routes.post(
        "/environment-specifications/{specification_id}/syncs", response_model=EnvironmentObject
    )
    async def enable(specification_id: str, principal: Asking) -> Response:
        """Enable an environment; for administrators."""
        return Answer(_dumped(_offered(await environments.enable(principal, specification_id))))

    @routes.delete("/environment-specifications/{specification_id}", status_code=204)
    async def disable(specification_id: str, principal: Asking) -> Response:
        """Disable an environment: what has chosen it goes on; for administrators."""
        await environments.disable(principal, specification_id)
        return Response(status_code=204)

    @routes.get(
        "/environment-specifications/{specification_id}/template",
        response_class=Response,
        responses={200: {"content": {"application/gzip": {}}}},
        openapi_extra=described_query(
            user="Who will own the algorithm.", name="What it will be called."
        ),
    )
    async def template(specification_id: str, query: Query) -> Response:
        """
        Download the project that algorithms of an environment begin with, as a `.tar.gz`.

        With `user` and `name` it is ready to be committed; without, `__USER__` and `__ALGO__`
        stand where they belong. No key is needed.
        """
        content = await environments.template(
            specification_id, user=query.get("user", ""), name=query.get("name", "")
        )
        return Response(content, media_type="application/gzip")

    return routes


def language_object(language: OfferedLanguage) -> LanguageObject:
    """Return a language as clients know it."""
    configuration = {
        "display_name": language.display_name,
        "req_files": list(language.required_files),
        "artifacts": [
            {"source": source, "destination": destination}
            for source, destination in language.artifacts
        ],
    }
    return LanguageObject(
        name=language.name,
        display_name=language.display_name,
        configuration=encode_json(configuration).decode(),
    )


def environment_object(environment: Environment) -> EnvironmentObject:
    """Return an environment as clients know it."""
    return EnvironmentObject(
        id=environment.environment_id,
        environment_specification_id=environment.specification_id,
        display_name=environment.display_name,
        description=environment.description,
        created_at=_CREATED_AT,
        language=language_object(environment.language),
        machine_type=environment.machine_type.upper(),
    )


def _offered(offered: OfferedEnvironment) -> EnvironmentObject:
    made = environment_object(offered.environment)
    return made.model_copy(
        update={"enabled": offered.is_enabled, "reason": offered.why_not or None}
    )


def _dumped(made: BaseModel) -> dict[str, Any]:
    return made.model_dump(exclude_none=True)
