"""
The favicon and the logo over HTTP: `/v1/config/favicon`, `/v1/config/logo`.

An upload is the bytes of the image, or a form with one file in it.

Source: wire specification, "Notifications, features, UI configuration".
"""

from email.message import Message
from typing import Final

from fastapi import APIRouter, Request, Response

from algorium_server.api.http import read_body
from algorium_server.api.management import Asking
from algorium_server.domain.errors import InvalidUpload
from algorium_server.domain.images import DEFAULT_IMAGE, DEFAULT_TYPE, ImageName
from algorium_server.domain.limits import LOGO_BYTES_MAX
from algorium_server.services.people.images import Images

_UPLOAD_BYTES_MAX: Final = 2 * LOGO_BYTES_MAX
"""Of a form: the image and what stands around it. How large an image may be is said later."""
_HEADERS: Final = {
    "Cache-Control": "max-age=300",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def image_routes(images: Images) -> APIRouter:
    """Return the routes; *images* does the work."""
    routes = APIRouter(tags=["installation"])
    for name in ImageName:
        _add_image(routes, images, name)
    return routes


def _add_image(routes: APIRouter, images: Images, name: ImageName) -> None:
    path = f"/v1/config/{name}"

    @routes.get(
        path,
        operation_id=f"get_{name}",
        response_class=Response,
        responses={200: {"content": {"image/*": {}}}},
    )
    async def get() -> Response:
        """Return the image; no key is needed."""
        found = await images.image(name)
        content = DEFAULT_IMAGE if found is None else found.content
        media_type = DEFAULT_TYPE if found is None else found.media_type
        return Response(content, media_type=media_type, headers=_HEADERS)

    @routes.post(
        path,
        operation_id=f"put_{name}",
        status_code=201,
        response_class=Response,
        openapi_extra={"requestBody": {"content": {"image/*": {}, "multipart/form-data": {}}}},
    )
    async def put(request: Request, principal: Asking) -> Response:
        """Choose an image: its bytes, or a form with it; for administrators."""
        raw = await read_body(
            request.scope,
            request.receive,
            bytes_max=_UPLOAD_BYTES_MAX,
            too_large=f"an upload is limited to {_UPLOAD_BYTES_MAX} bytes",
        )
        content_type = request.headers.get("content-type", "")
        await images.put(principal, name, image_in(bytes(raw), content_type))
        return Response(status_code=201)

    @routes.delete(path, operation_id=f"remove_{name}", status_code=204)
    async def remove(principal: Asking) -> Response:
        """Go back to the image there is by default; for administrators."""
        await images.remove(principal, name)
        return Response(status_code=204)


def image_in(body: bytes, content_type: str) -> bytes:
    """
    Return the image that was sent.

    Args:
        body: The image, or a form of one file.
        content_type: As the request says.

    Raises:
        InvalidUpload: The form holds no file.

    Source: RFC 7578.
    """
    head = Message()
    head["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    if head.get_content_type() != "multipart/form-data":
        return body
    boundary = head.get_boundary("")
    if boundary:
        for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))[1:]:
            fields, found, content = part.partition(b"\r\n\r\n")
            if found and b"filename=" in fields.lower():
                return content
    raise InvalidUpload("the form holds no file")
