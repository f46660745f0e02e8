"""
The Data API's JSON: listings out, new directories and ACLs in.

Key order, absent members and timestamps are what old clients compare literally: the fraction is
always `.000`, the marker and the ACL are left out rather than null.

Source: wire specification, "Directories", "ACLs", quirks 1 to 4 and 19.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from algorium.wire.bodies import BodyError, ReadAcl
from algorium_server.api.http import decode_json
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import AccountKind
from algorium_server.services.files.data import Listing
from algorium_server.services.files.directories import OwnedCollection


class _Acl(msgspec.Struct):
    read: list[str] | None = None


class _NewDirectory(msgspec.Struct):
    name: str
    acl: _Acl | None = None


class _Change(msgspec.Struct):
    acl: _Acl


def listing_of(listing: Listing) -> dict[str, Any]:
    """Return a page of a directory as JSON-able values."""
    shown: dict[str, Any] = {
        "folders": [{"name": name} for name in listing.page.folders],
        "files": [
            {
                "filename": entry.name,
                "size": entry.size_bytes,
                "last_modified": timestamp(entry.modified_at or datetime.now(UTC)),
            }
            for entry in listing.page.files
        ],
    }
    if listing.page.marker:
        shown["marker"] = listing.page.marker
    if listing.acl is not None:
        shown["acl"] = {"read": listing.acl.entries}
    return shown


def hosted_of(owned: OwnedCollection) -> dict[str, Any]:
    """Return an entry of `/v1/hostedData` as JSON-able values."""
    collection, owner = owned.collection, owned.owner
    return {
        "id": collection.collection_id,
        "object_id": f"collec-{collection.collection_id}",
        "collection_name": collection.name,
        "username": owner.username,
        "acl": {
            "read_w": collection.acl is ReadAcl.PUBLIC,
            "read_g": owner.kind is AccountKind.ORGANIZATION,
            "read_u": True,
            "read_a": collection.acl is not ReadAcl.PRIVATE,
        },
        "location": f"data://{owner.username}/{collection.name}",
    }


def timestamp(moment: datetime) -> str:
    """Return *moment* as listings show it: UTC, with a fraction of three literal zeros."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}.000Z"


def parse_new_directory(body: bytes, *, is_text: bool) -> tuple[str, ReadAcl]:
    """
    Read the name and the ACL of a directory that is to be created.

    The body is JSON whatever its type says; but one client sends the bare name as text.

    Args:
        body: As sent.
        is_text: It claims to be plain text.

    Raises:
        MalformedJson: It is neither.
        InvalidInput: The JSON is not what it must be.
    """
    if is_text and not body.lstrip().startswith(b"{"):
        try:
            return body.decode().strip(), ReadAcl.MY_ALGORITHMS
        except UnicodeDecodeError as error:
            raise InvalidInput("the name of the directory must be UTF-8") from error
    wanted = decode_json(body, _NewDirectory)
    if wanted.acl is None or wanted.acl.read is None:
        return wanted.name, ReadAcl.MY_ALGORITHMS
    return wanted.name, _read_acl(wanted.acl.read)


def parse_acl(body: bytes) -> ReadAcl:
    """
    Read a changed ACL.

    Raises:
        MalformedJson: The body is not JSON.
        InvalidInput: It holds no ACL that is known.
    """
    change = decode_json(body, _Change)
    if change.acl.read is None:
        raise InvalidInput("acl.read is missing")
    return _read_acl(change.acl.read)


def _read_acl(entries: list[str]) -> ReadAcl:
    try:
        return ReadAcl.of_entries(entries)
    except BodyError as error:
        raise InvalidInput('acl.read must be [], ["algo://.my/*"] or ["user://*"]') from error
