"""
Where source hosts tell us what has happened: `/v1/algorithms/{ref}/scm/webhook`.

Nobody shows a key here. Whether there is anything to tell about is looked up before a byte of the
body is read; who sends it, the body's signature says.

Source: wire specification, "Webhook from the SCM host".
"""

from fastapi import APIRouter, Request, Response

from algorium_server.api.http import read_body
from algorium_server.api.management import Answer
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.limits import WEBHOOK_BODY_BYTES_MAX
from algorium_server.services.source.webhooks import Webhooks


def webhook_routes(webhooks: Webhooks) -> APIRouter:
    """Return the routes; *webhooks* does the work."""
    routes = APIRouter(tags=["source hosts"])

    @on_algorithm(routes, "POST", "/scm/webhook", status_code=204)
    async def receive(ref: Ref, request: Request) -> Response:
        """Take a message of the algorithm's source host; 202 if nothing is done about it."""
        algorithm = webhooks.algorithm(ref)
        body = await read_body(
            request.scope,
            request.receive,
            bytes_max=WEBHOOK_BODY_BYTES_MAX,
            too_large=f"a webhook is limited to {WEBHOOK_BODY_BYTES_MAX} bytes",
        )
        reason = await webhooks.receive(
            algorithm,
            headers=dict(request.headers),
            body=body,
            token=request.query_params.get("token", ""),
        )
        return Answer({"reason": reason}, 202) if reason else Response(status_code=204)

    return routes
