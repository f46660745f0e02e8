"""
Reservations of warm slots over HTTP: `/v1/admin/reservations`.

Source: wire specification, "Reservations and work limits".
"""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.services.people.reservations import (
    Reservations,
    ShownReservation,
    WantedReservation,
)


class ReservationBody(Body):
    """
    Slots to keep warm.

    `version_type` is `latest_public`, `latest_private`, `latest`, `semantic` or `hash`, in any
    case; the last two need `version_identifier`.
    """

    username: str
    algoname: str
    calling_user: str
    version_type: str
    version_identifier: str | None = None
    num_slots: int


class ReservationObject(BaseModel):
    """Slots that are kept warm; `version_hash` is empty while there is no such version."""

    reservation_id: str
    username: str
    algoname: str
    version_type: str
    version_hash: str
    num_slots: int
    billable_to: str
    billable_to_uuid: str
    algo_id: str
    algorithm_id: str


def reservation_routes(reservations: Reservations) -> APIRouter:
    """Return the routes over *reservations*."""
    routes = APIRouter(tags=["reservations"])

    @routes.get("/v1/admin/reservations", response_model=list[ReservationObject])
    async def all_reservations(principal: Asking) -> Response:
        """List reservations, oldest first; for administrators."""
        return Answer([_object(each) for each in await reservations.list(principal)])

    @routes.post("/v1/admin/reservations", response_class=Response)
    async def create(
        principal: Asking, body: Annotated[ReservationBody, body_of(ReservationBody)]
    ) -> Response:
        """Keep slots of a version warm for an account; for administrators."""
        wanted = WantedReservation(
            username=body.username,
            algoname=body.algoname,
            calling_user=body.calling_user,
            version_type=body.version_type,
            version_identifier=body.version_identifier or "",
            num_slots=body.num_slots,
        )
        await reservations.create(principal, wanted)
        return Answer()

    @routes.delete("/v1/admin/reservations/{reservationId}", response_class=Response)
    async def delete(principal: Asking, reservationId: str) -> Response:  # noqa: N803 - in the path
        """Keep those slots warm no longer; for administrators."""
        await reservations.delete(principal, reservationId)
        return Answer()

    return routes


def _object(shown: ShownReservation) -> dict[str, Any]:
    reservation = shown.reservation
    return {
        "reservation_id": reservation.reservation_id,
        "username": shown.owner,
        "algoname": shown.algorithm,
        "version_type": reservation.version_type.value,
        "version_hash": shown.version_hash,
        "num_slots": reservation.num_slots,
        "billable_to": shown.account.username,
        "billable_to_uuid": shown.account.account_id,
        "algo_id": reservation.algorithm_id,
        "algorithm_id": reservation.algorithm_id,
    }
