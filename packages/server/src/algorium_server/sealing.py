"""
Secrets at rest: sealed with AES-256-GCM under keys that lie beside the database, not in it.

    version 1 | length of the key's id | the key's id | nonce, 12 bytes | text and tag

What a secret belongs to, its owner and its name, is part of the seal: moved into another row it
does not open. Each seal names its key, so keys can be replaced: new seals use the current one, and
old ones open as long as their key is in the file.

The file is `secrets/sealing.json` in the home directory, readable by its owner only. Whoever loses
it loses what is sealed; a copy of the database alone tells nothing.

Everything here blocks, but only opening the file does for long.

Source: design, "Secrets".
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from algorium_server.domain.audit import ChainKeys
from algorium_server.domain.errors import InternalError, Unavailable
from algorium_server.durable import flush_directory, write_new_file

_FORMAT: Final = 1
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_AUDIT: Final = b"algorium: chain of the audit log"
"""What a key is derived for; whoever had a derived one could not open what is sealed."""


class _KeyFile(msgspec.Struct):
    current: str
    keys: dict[str, str]


class Seal:
    """
    Seals and opens secrets.

    Args:
        keys: Keys of 256 bits by their ids.
        current: Id of the one that new seals use.
    """

    def __init__(self, keys: dict[str, bytes], *, current: str) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = current
        self._chain_keys = ChainKeys(
            {key_id: hmac.digest(key, _AUDIT, hashlib.sha256) for key_id, key in keys.items()},
            current,
        )

    @property
    def chain_keys(self) -> ChainKeys:
        """What the audit log is chained with: derived from the same keys, under the same ids."""
        return self._chain_keys

    @classmethod
    def open(cls, home: Path) -> Self:
        """
        Read the keys of a home, or make the first one.

        Raises:
            Unavailable: The file cannot be read, or is none of keys.
        """
        path = home / "secrets" / "sealing.json"
        try:
            text = _read_or_create(path)
            file = msgspec.json.decode(text, type=_KeyFile)
            keys = {
                key_id: base64.b64decode(key, validate=True) for key_id, key in file.keys.items()
            }
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise Unavailable(
                f"Cannot read the keys in {path}",
                hint="Restore it from a backup: without it, what is sealed is lost.",
                detail=type(error).__name__,
            ) from None
        if file.current not in keys or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise Unavailable(f"{path} does not hold the keys that it should")
        return cls(keys, current=file.current)

    def seal(self, secret: bytes, *, owner: str, name: str) -> bytes:
        """
        Return *secret*, sealed.

        Args:
            secret: What nobody else is to read.
            owner: Id of the account that it belongs to.
            name: What it is called there.
        """
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self._current.encode()
        sealed = self._ciphers[self._current].encrypt(nonce, secret, _bound_to(owner, name))
        return bytes((_FORMAT, len(key_id))) + key_id + nonce + sealed

    def unseal(self, sealed: bytes, *, owner: str, name: str) -> bytes:
        """
        Return what was sealed for this owner under this name.

        Raises:
            InternalError: Its key is not there, it belongs elsewhere, or was changed.
        """
        failure = InternalError(
            "a stored secret cannot be read",
            hint="Give it again; or restore secrets/sealing.json, which holds the keys.",
            detail=f"secret {name}",
        )
        if len(sealed) < 2 or sealed[0] != _FORMAT:
            raise failure
        start = 2 + sealed[1]
        key_id = sealed[2:start].decode("utf-8", "replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            failure.detail = f"secret {name} is sealed with the key {key_id!r}, which is not here"
            raise failure
        nonce, text = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, _bound_to(owner, name))
        except (InvalidTag, ValueError):
            raise failure from None


def _bound_to(owner: str, name: str) -> bytes:
    return b"\0".join((owner.encode(), name.encode()))


def _read_or_create(path: Path) -> bytes:
    if not path.exists():
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flush_directory(path.parent.parent)
        key_id = secrets.token_hex(4)
        key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        first = _KeyFile(current=key_id, keys={key_id: key})
        # Another gateway may do the same right now: the file of one of them is there, whole, and
        # both go on with that.
        write_new_file(path, msgspec.json.encode(first).decode() + "\n")
    return path.read_bytes()
