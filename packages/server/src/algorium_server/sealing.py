"""
Secrets at rest: sealed with AES-256-GCM under keys that lie beside the database, not in it.

    version 1 | length of the key's id | the key's id | nonce, 12 bytes | text and tag

What a secret belongs to, its owner and its name, is part of the seal: moved into another row it
does not open. Each seal names its key, so keys can be replaced: new seals use the current one, and
old ones open as long as their key is in the file; see `services/resealing.py`.

The file is `secrets/sealing.json` in the home directory, readable by its owner only. Whoever loses
it loses what is sealed; a copy of the database alone tells nothing. Of a key that was forgotten it
holds what the audit log was chained with: that is derived from the key, and opens nothing.

Everything here blocks, but only opening the file does for long.

Source: design, "Secrets".
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from algorium_server.domain.audit_chain import ChainKeys
from algorium_server.domain.errors import InternalError, Unavailable
from algorium_server.durable import flush_directory, remove_halves, write_file, write_new_file

_FORMAT: Final = 1
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_AUDIT: Final = b"algorium: chain of the audit log"
"""What a key is derived for; whoever had a derived one could not open what is sealed."""


class _KeyFile(msgspec.Struct):
    current: str
    keys: dict[str, str]
    forgotten: dict[str, str] = {}
    """Chain keys, by the ids of the keys that they were derived from."""


class Seal:
    """
    Seals and opens secrets.

    Args:
        keys: Keys of 256 bits by their ids.
        current: Id of the one that new seals use.
        forgotten: Chain keys of keys that are not there any more, by their ids.

    Attributes:
        current: As above.
    """

    def __init__(
        self, keys: dict[str, bytes], *, current: str, forgotten: Mapping[str, bytes] | None = None
    ) -> None:
        self.current = current
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        derived = {key_id: _chain_key(key) for key_id, key in keys.items()}
        self._chain_keys = ChainKeys({**(forgotten or {}), **derived}, current)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys that open something, as they are in the file: the oldest first."""
        return tuple(self._ciphers)

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
        path = _path(home)
        try:
            _create_first(path)
            file = _read(path)
            keys, forgotten = _decoded(file.keys), _decoded(file.forgotten)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise _unreadable(path, error) from None
        every = (*keys.values(), *forgotten.values())
        if file.current not in keys or any(len(key) != _KEY_BYTES for key in every):
            raise Unavailable(f"{path} does not hold the keys that it should")
        return cls(keys, current=file.current, forgotten=forgotten)

    def seal(self, secret: bytes, *, owner: str, name: str) -> bytes:
        """
        Return *secret*, sealed.

        Args:
            secret: What nobody else is to read.
            owner: Id of the account that it belongs to.
            name: What it is called there.
        """
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self.current.encode()
        sealed = self._ciphers[self.current].encrypt(nonce, secret, _bound_to(owner, name))
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
        key_id = key_of(sealed)
        if key_id is None:
            raise failure
        start = 2 + sealed[1]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            failure.detail = f"secret {name} is sealed with the key {key_id!r}, which is not here"
            raise failure
        nonce, text = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, text, _bound_to(owner, name))
        except (InvalidTag, ValueError):
            raise failure from None


def key_of(sealed: bytes) -> str | None:
    """Return the id of the key that something says it is sealed with; None if it is no seal."""
    if len(sealed) < 2 or sealed[0] != _FORMAT:
        return None
    return sealed[2 : 2 + sealed[1]].decode("utf-8", "replace")


def add_key(home: Path) -> str:
    """
    Add a key to those of a home, make it the current one, and return its id.

    Nothing is lost whenever this ends: the file has all keys of before, or one more. Nobody else
    may change the file meanwhile.

    Raises:
        Unavailable: The file is not there, is none of keys, cannot be written, or is another
            user's: then a server could not read what would be written.
    """
    path = _ours(home)
    Seal.open(home)
    with _changing(path) as file:
        key_id = _new_id(taken={*file.keys, *file.forgotten})
        file.keys[key_id] = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
        file.current = key_id
    return key_id


def forget_keys(home: Path) -> tuple[str, ...]:
    """
    Forget all keys of a home but the current one, and return their ids.

    What they sealed cannot be opened any more; the audit log is verified as before. Nobody else
    may change the file meanwhile.

    Raises:
        Unavailable: As `add_key` does.
    """
    path = _ours(home)
    chain_keys = Seal.open(home).chain_keys.keys
    with _changing(path) as file:
        gone = tuple(key_id for key_id in file.keys if key_id != file.current)
        for key_id in gone:
            del file.keys[key_id]
            file.forgotten[key_id] = base64.b64encode(chain_keys[key_id]).decode()
    return gone


def remove_leftovers(home: Path) -> None:
    """
    Remove what a killed change of the keys has left: it has them all, also those forgotten since.

    Nobody else may change the file meanwhile.

    Raises:
        Unavailable: It cannot be removed.
    """
    path = _path(home)
    try:
        remove_halves(path)
    except OSError as error:
        raise Unavailable(f"Cannot tidy up in {path.parent}: {error.strerror}") from error


def _ours(home: Path) -> Path:
    """Return where the keys are, if a file written by us takes the place of the one there."""
    path = _path(home)
    try:
        owner = path.stat().st_uid
    except OSError as error:
        raise _unreadable(path, error) from None
    if path.is_symlink():
        raise Unavailable(
            f"{path} is a link to {path.resolve()}",
            hint="Put the file itself there, and take it back to its place afterwards.",
        )
    if owner != os.geteuid():
        raise Unavailable(
            f"{path} belongs to another user",
            hint="Run this as the user that the server runs as: it must be able to read it.",
        )
    return path


@contextmanager
def _changing(path: Path) -> Iterator[_KeyFile]:
    try:
        file = _read(path)
        yield file
        write_file(path, _encoded(file))
    except OSError as error:
        raise Unavailable(f"Cannot write the keys in {path}: {error.strerror}") from error


def _path(home: Path) -> Path:
    return home / "secrets" / "sealing.json"


def _read(path: Path) -> _KeyFile:
    return msgspec.json.decode(path.read_bytes(), type=_KeyFile)


def _encoded(file: _KeyFile) -> str:
    return msgspec.json.encode(file).decode() + "\n"


def _decoded(keys: Mapping[str, str]) -> dict[str, bytes]:
    return {key_id: base64.b64decode(key, validate=True) for key_id, key in keys.items()}


def _unreadable(path: Path, error: Exception) -> Unavailable:
    return Unavailable(
        f"Cannot read the keys in {path}",
        hint="Restore it from a backup: without it, what is sealed is lost.",
        detail=type(error).__name__,
    )


def _new_id(*, taken: Collection[str]) -> str:
    while True:
        key_id = secrets.token_hex(4)
        if key_id not in taken:
            return key_id


def _chain_key(key: bytes) -> bytes:
    return hmac.digest(key, _AUDIT, hashlib.sha256)


def _bound_to(owner: str, name: str) -> bytes:
    return b"\0".join((owner.encode(), name.encode()))


def _create_first(path: Path) -> None:
    if path.exists():
        return
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_directory(path.parent.parent)
    key_id = _new_id(taken=())
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    # Another gateway may do the same right now: the file of one of them is there, whole, and
    # both go on with that.
    write_new_file(path, _encoded(_KeyFile(current=key_id, keys={key_id: key})))
