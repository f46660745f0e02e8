"""
Insights over HTTP: reported by algorithms, and the connection for administrators.

    /v1/insights
    /v1/admin/insights-connection

Source: wire specification, "Insights".
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from algorium_server.api.http import decode_json, read_body
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.domain.insights import (
    ConnectionType,
    InsightsConnection,
    InsightsSettings,
    SaslMechanism,
)
from algorium_server.domain.limits import INSIGHTS_BODY_BYTES_MAX
from algorium_server.services.operations.insights import (
    DeliveryState,
    InsightReports,
    InsightsAdministration,
)

_ADMIN: Final = "/v1/admin/insights-connection"
_REPORT: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["insight_key", "insight_value"],
                        "properties": {
                            "insight_key": {"type": "string"},
                            "insight_value": {"anyOf": [{"type": "number"}, {"type": "string"}]},
                        },
                    },
                }
            }
        },
    }
}


class Taken(BaseModel):
    """That a report was taken; one client reads it."""

    response: str


class ConnectionBody(Body):
    """Where insights go; the password is only ever sent."""

    connection_type: ConnectionType
    broker_url: str
    topic: str
    broker_username: str | None = None
    broker_password: str | None = Field(default=None, repr=False)
    sasl_mechanism: SaslMechanism | None = None
    ca_certificate: str | None = None


class DeliveryObject(BaseModel):
    """Records of the gateway that answers, since its start."""

    sent: int
    waiting: int
    lost: int
    remedy: str


class ConnectionObject(BaseModel):
    """Where insights go, without the password, and how far they come."""

    id: str
    connection_type: str
    broker_url: str
    topic: str
    broker_username: str | None = None
    sasl_mechanism: str | None = None
    ca_certificate: str | None = None
    delivery: DeliveryObject


def insight_routes(reports: InsightReports, administration: InsightsAdministration) -> APIRouter:
    """
    Return the routes.

    Args:
        reports: Takes what algorithms report.
        administration: Has the connection.
    """
    routes = APIRouter(tags=["insights"])

    @routes.post("/v1/insights", response_model=Taken, openapi_extra=_REPORT)
    async def report(principal: Asking, request: Request) -> Response:
        """Report insights, from inside a running algorithm."""
        body = await read_body(
            request.scope,
            request.receive,
            bytes_max=INSIGHTS_BODY_BYTES_MAX,
            too_large=f"a report is limited to {INSIGHTS_BODY_BYTES_MAX} bytes",
        )
        reports.report(principal, decode_json(body, list[Any]) if body.strip() else [])
        return Answer({"response": "OK"})

    @routes.get(_ADMIN, response_model=ConnectionObject)
    async def shown(principal: Asking) -> Response:
        """Show the insights connection; for administrators."""
        found = await administration.connection(principal)
        return Answer(_object(found, administration.state()))

    @routes.post(_ADMIN, response_model=ConnectionObject)
    async def connect(
        principal: Asking, body: Annotated[ConnectionBody, body_of(ConnectionBody)]
    ) -> Response:
        """Create or replace the insights connection; for administrators."""
        settings = InsightsSettings(
            connection_type=body.connection_type,
            broker_url=body.broker_url,
            topic=body.topic,
            broker_username=body.broker_username or "",
            sasl_mechanism=body.sasl_mechanism or SaslMechanism.SCRAM_SHA_512,
            ca_certificate=body.ca_certificate or "",
        )
        made = await administration.connect(principal, settings, body.broker_password or "")
        return Answer(_object(made, administration.state()))

    @routes.delete(_ADMIN, status_code=204)
    async def disconnect(principal: Asking) -> Response:
        """Delete the insights connection; for administrators."""
        await administration.disconnect(principal)
        return Response(status_code=204)

    return routes


def _object(connection: InsightsConnection, state: DeliveryState) -> dict[str, Any]:
    settings = connection.settings
    is_sasl = settings.connection_type is ConnectionType.SASL_SSL
    return ConnectionObject(
        id=connection.connection_id,
        connection_type=settings.connection_type,
        broker_url=settings.broker_url,
        topic=settings.topic,
        broker_username=settings.broker_username if is_sasl else None,
        sasl_mechanism=settings.sasl_mechanism if is_sasl else None,
        ca_certificate=settings.ca_certificate or None,
        delivery=DeliveryObject(
            sent=state.sent, waiting=state.waiting, lost=state.lost, remedy=state.remedy
        ),
    ).model_dump(exclude_none=True)
