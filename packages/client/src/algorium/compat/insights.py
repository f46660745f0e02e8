"""What algorithms report about themselves: see `Client.report_insights`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from algorium.compat.client import Client


class Insights:
    """Numbers and texts by name, sent as soon as they are made."""

    def __init__(self, insights: dict[str, Any], client: "Client") -> None:
        told = [{"insight_key": key, "insight_value": insights[key]} for key in insights]
        client.postJsonHelper("/v1/insights", told, parse_response_as_json=False)
