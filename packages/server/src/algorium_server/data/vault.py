"""
Values of secrets in a key-value engine of HashiCorp Vault, or of what speaks its API.

Each value is an entry of its own, `<path>/<algorithm id>/<variable>`, in the field `value`, so that
people and policies can tell them apart. Engines of version 2 keep earlier values, and put a word
behind the mount: `data` to read and write, `metadata` to remove.

| status | means |
|---|---|
| 200, 204 | done |
| 404 | nothing there; of a mount: no such engine |
| 403 | the token is refused, or its policies do not allow it; Vault does not say which |
| 307, 503 | another server of the cluster is the active one; sealed |

Source: HashiCorp Vault, HTTP API: "KV secrets engine, version 1" and "version 2", "Namespaces".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from algorium_server.data.refusals import Scrubber
from algorium_server.data.requests import Answer, Requests
from algorium_server.domain.errors import PathNotFound, SourceFailed
from algorium_server.domain.secrets import Place

_FIELD: Final = "value"
_WORDS_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """
    A key-value engine.

    Attributes:
        mount: Its path, with a slash at the end.
        base: Where our entries are below it; empty, or with a slash at the end.
        version: 1 or 2.
    """

    mount: str
    base: str
    version: int

    def path(self, entry: str, *, kind: str) -> str:
        """Return the path of an entry; *kind* is `data` or `metadata`."""
        between = f"{kind}/" if self.version == 2 else ""
        return quote(f"{self.mount}{between}{self.base}{entry}")


class Vault:
    """
    A place in a Vault.

    Args:
        configuration: What `check_configuration` has checked.
        address: Where requests go.
    """

    def __init__(self, configuration: Mapping[str, str], *, address: str) -> None:
        token = configuration["vault_token"]
        self._address = address.rstrip("/")
        self._path = configuration["vault_secret_path"].strip("/")
        self._version = configuration.get("vault_kv_version", "")
        self._headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if namespace := configuration.get("vault_namespace", ""):
            self._headers["X-Vault-Namespace"] = namespace
        self._scrub = Scrubber([token])
        self._requests = Requests(
            "vault", self._scrub, ca_certificate=configuration.get("vault_ca_certificate", "")
        )
        self._engine: Engine | None = None

    async def read(self, place: Place) -> str:
        """
        Return a value.

        Raises:
            PathNotFound: There is none.
        """
        engine = await self._found()
        answer = await self._ask("GET", engine.path(_entry(place), kind="data"))
        content = _member(answer, "data")
        if engine.version == 2 and isinstance(content, dict):
            content = content.get("data")
        if answer.status == 404 or content is None:
            raise PathNotFound(f"there is no value at {self.address_of(place)}")
        value = content.get(_FIELD) if isinstance(content, dict) else None
        if not isinstance(value, str):
            raise SourceFailed(f"{self.address_of(place)} has no text in its field {_FIELD!r}")
        return value

    async def write(self, place: Place, value: str) -> None:
        """Keep a value instead of what was there."""
        engine = await self._found()
        content: dict[str, Any] = {_FIELD: value}
        if engine.version == 2:
            content = {"data": content}
        path = engine.path(_entry(place), kind="data")
        answer = await self._ask("POST", path, msgspec.json.encode(content))
        if answer.status == 404:
            raise SourceFailed(f"vault has no secrets engine at {self._path!r}")

    async def remove(self, place: Place) -> None:
        """Forget a value with all that it was before."""
        engine = await self._found()
        await self._ask("DELETE", engine.path(_entry(place), kind="metadata"))

    def address_of(self, place: Place) -> str:
        """Return the entry of a value, as Vault's command line names it."""
        return f"{self._path}/{_entry(place)}"

    async def close(self) -> None:
        """Close the connections."""
        await self._requests.close()

    async def _found(self) -> Engine:
        """Return the engine; which version it has is asked once, unless it was given."""
        if self._engine is None:
            if self._version:
                mount, _, base = self._path.partition("/")
                self._engine = _engine(f"{mount}/", base, int(self._version))
            else:
                self._engine = await self._ask_for_engine()
        return self._engine

    async def _ask_for_engine(self) -> Engine:
        answer = await self._ask("GET", quote(f"sys/internal/ui/mounts/{self._path}"))
        found = _member(answer, "data")
        if answer.status == 404 or not isinstance(found, dict):
            raise SourceFailed(f"vault has no secrets engine at {self._path!r}")
        mount, options = found.get("path"), found.get("options") or {}
        if found.get("type") not in {"kv", "generic"} or not isinstance(mount, str):
            raise SourceFailed(f"the secrets engine at {self._path!r} keeps no keys and values")
        if not f"{self._path}/".startswith(mount):
            raise SourceFailed(f"vault says that {self._path!r} is elsewhere")
        version = options.get("version") if isinstance(options, dict) else None
        return _engine(mount, self._path[len(mount) :], 2 if version == "2" else 1)

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Return an answer that is a success, or a 404."""
        answer = await self._requests.send(
            method, f"{self._address}/v1/{path}", headers=self._headers, body=body
        )
        if 200 <= answer.status < 300 or answer.status == 404:
            return answer
        words = self._scrub("; ".join(_errors(answer))) or f"status {answer.status}"
        if answer.status == 403:
            raise SourceFailed(f"vault refuses the token, or its policies: {words}")
        if 300 <= answer.status < 400:
            raise SourceFailed("vault sends us elsewhere: vault_addr must be its active server")
        raise SourceFailed(f"vault answers: {words}")


def _engine(mount: str, base: str, version: int) -> Engine:
    # Some write the path as the API has it.
    parts = [part for part in base.split("/") if part]
    if version == 2 and parts[:1] == ["data"]:
        del parts[0]
    return Engine(mount=mount, base="".join(f"{part}/" for part in parts), version=version)


def _entry(place: Place) -> str:
    return f"{place.algorithm_id}/{place.secret_key}"


def _member(answer: Answer, name: str) -> Any:
    try:
        content = msgspec.json.decode(answer.body) if answer.body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SourceFailed("what answers there is no vault: its answer is not JSON") from None
    return content.get(name) if isinstance(content, dict) else None


def _errors(answer: Answer) -> list[str]:
    try:
        found = _member(answer, "errors")
    except SourceFailed:
        return []
    return [str(each) for each in found[:_WORDS_MAX]] if isinstance(found, list) else []
