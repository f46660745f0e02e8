"""
Algorithms over HTTP: `/v1/algorithms`.

Source: wire specification, "Algorithm management".
"""

from fastapi import APIRouter

from algorium_server.services.algorithms import Algorithms


def algorithm_routes(_algorithms: Algorithms) -> APIRouter:
    """Return the routes of algorithms."""
    return APIRouter(prefix="/v1/algorithms", tags=["algorithms"])
