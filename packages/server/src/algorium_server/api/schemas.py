"""
What a version takes and gives, what it consists of and where it comes from, over HTTP.

    GET …/versions/{version}/schema            JSON Schemas of input and result
    GET …/openapi.json?version=                the document of one algorithm
    GET …/versions/{version}/sbom              bill of materials, CycloneDX
    GET …/versions/{version}/provenance        in-toto statement with SLSA provenance
    GET …/versions/{version}/lock              the packages it runs with
"""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.api.algorithm_document import algorithm_document
from algorium_server.api.http import JSON
from algorium_server.api.management import Answer, Asking
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.errors import VersionNotFound
from algorium_server.domain.schemas import parsed
from algorium_server.services.authoring.documents import Documents, Kind

_TYPES: Final = {
    Kind.BILL: "application/vnd.cyclonedx+json",
    Kind.PROVENANCE: "application/vnd.in-toto+json",
    Kind.LOCK: "text/plain; charset=utf-8",
}


def schema_routes(documents: Documents, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        documents: Finds what they answer.
        api: Base address, for documents.
    """
    routes = APIRouter(tags=["versions"])

    @on_algorithm(routes, "GET", "/versions/{version}/schema")
    async def schema(ref: Ref, version: str, principal: Asking) -> Response:
        """Return JSON Schemas of the input and the result; null for what is not known."""
        resolved = documents.find(principal, _with_version(ref, version))
        signature = await documents.signature(resolved)
        return Answer(
            {"input": parsed(signature.input_schema), "output": parsed(signature.output_schema)}
        )

    @on_algorithm(routes, "GET", "/openapi.json")
    async def document(
        ref: Ref,
        principal: Asking,
        version: Annotated[str, Query(description="The newest one if not given.")] = "",
    ) -> Response:
        """Return how a version is called, as a document in OpenAPI 3.1."""
        resolved = documents.find(principal, _with_version(ref, version))
        signature = await documents.signature(resolved)
        return Answer(algorithm_document(resolved, signature, api=api))

    @on_algorithm(routes, "GET", "/versions/{version}/sbom")
    async def sbom(ref: Ref, version: str, principal: Asking) -> Response:
        """Return what a version consists of, as CycloneDX 1.6."""
        return await _document(ref, version, principal, Kind.BILL)

    @on_algorithm(routes, "GET", "/versions/{version}/provenance")
    async def provenance(ref: Ref, version: str, principal: Asking) -> Response:
        """Return where a version comes from, as an in-toto statement."""
        return await _document(ref, version, principal, Kind.PROVENANCE)

    @on_algorithm(routes, "GET", "/versions/{version}/lock")
    async def lock(ref: Ref, version: str, principal: Asking) -> Response:
        """Return the packages that a version runs with, exactly as installed."""
        return await _document(ref, version, principal, Kind.LOCK)

    async def _document(ref: AlgorithmRef, version: str, principal: Asking, kind: Kind) -> Response:
        content = await documents.document(principal, _with_version(ref, version), kind)
        return Response(
            content.encode("utf-8", "replace"),
            media_type=_TYPES.get(kind, JSON),
            headers={"Cache-Control": "no-store"},
        )

    return routes


def _with_version(ref: AlgorithmRef, version: str) -> AlgorithmRef:
    try:
        return replace(ref, version=version)
    except RefSyntaxError:
        raise VersionNotFound from None
