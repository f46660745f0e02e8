"""
Images of the installation: its favicon and its logo.

What an image is, its first bytes say, not its sender. SVG is refused: it can hold programs, which
would run as if they were ours.

Source: wire specification, "Notifications, features, UI configuration".
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import (
    AlgoriumError,
    FaviconTooLarge,
    InvalidUpload,
    LogoTooLarge,
)
from algorium_server.domain.limits import FAVICON_BYTES_MAX, LOGO_BYTES_MAX

DEFAULT_TYPE: Final = "image/svg+xml"
DEFAULT_IMAGE: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    b'<rect width="32" height="32" rx="6" fill="#1f3a5f"/>'
    b'<path d="M8 24 16 7l8 17h-4l-4-9-4 9z" fill="#fff"/></svg>'
)
"""What is shown until an administrator has chosen something."""


class ImageName(StrEnum):
    """Which images there are."""

    FAVICON = "favicon"
    LOGO = "logo"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image that an administrator has chosen."""

    name: ImageName
    media_type: str
    content: bytes
    changed_at: datetime


def media_type_of(name: ImageName, content: bytes) -> str:
    """
    Return the type of an image by its bytes.

    Raises:
        InvalidUpload: It is none that browsers show.
        FaviconTooLarge: It is larger than a favicon may be.
        LogoTooLarge: The same for a logo.
    """
    bytes_max, refusal = _BYTES_MAX[name]
    if len(content) > bytes_max:
        raise refusal(f"a {name} is limited to {bytes_max} bytes")
    for beginning, media_type in _BEGINNINGS.items():
        if content.startswith(beginning):
            return media_type
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    raise InvalidUpload("send a PNG, JPEG, GIF, WebP or ICO image")


_BYTES_MAX: Final[dict[ImageName, tuple[int, type[AlgoriumError]]]] = {
    ImageName.FAVICON: (FAVICON_BYTES_MAX, FaviconTooLarge),
    ImageName.LOGO: (LOGO_BYTES_MAX, LogoTooLarge),
}
_BEGINNINGS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"\x00\x00\x01\x00": "image/x-icon",
}
