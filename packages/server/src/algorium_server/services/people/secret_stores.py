"""
From a secret to its value, wherever it is kept.

Values of the internal provider are unsealed each time. Those from outside are asked for when a slot
starts; slots start in crowds, so what was read is handed to further ones for a minute.

Source: wire specification, "Secret store".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import msgspec

from algorium_server.data.key_vault import KeyVault
from algorium_server.data.secret_store import SecretStore
from algorium_server.data.vault import Vault
from algorium_server.domain.connectors import check_address
from algorium_server.domain.errors import (
    AlgoriumError,
    InternalError,
    PathNotFound,
    SecretProviderDisabled,
    SecretProviderFailed,
    SecretProviderNotFound,
    Unavailable,
)
from algorium_server.domain.limits import (
    SECRET_FRESH_S,
    SECRET_PROVIDER_ANSWER_S_MAX,
    SECRET_PROVIDER_REQUESTS_MAX,
    SECRETS_FRESH_MAX,
)
from algorium_server.domain.secrets import (
    Place,
    ProviderKind,
    SecretProvider,
    StoredSecret,
    check_together,
)
from algorium_server.sealing import Seal
from algorium_server.services.files.reaching import Reach
from algorium_server.telemetry import logger

_PROVIDERS: Final = "secret providers"
_TRIAL: Final = "TRIAL"
_AZURE_AUTHORITY: Final = "https://login.microsoftonline.com"

_log = logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Opened:
    """
    A provider with its connections.

    Attributes:
        users: How many are using it; whatever they are at, it stays open for them.
        is_retired: Nobody begins to use it any more.
    """

    revision: str
    store: SecretStore
    room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(SECRET_PROVIDER_REQUESTS_MAX)
    )
    users: int = 0
    is_retired: bool = False

    async def leave(self) -> None:
        """Use it no more."""
        self.users -= 1
        if self.is_retired and not self.users:
            await self.store.close()

    async def retire(self) -> None:
        """Close it once nobody uses it any more."""
        self.is_retired = True
        if not self.users:
            await self.store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fresh:
    algorithm_id: str
    until: float
    value: str = field(repr=False)


class SecretStores:
    """
    Reads and writes values.

    Args:
        seal: Seals values, and how providers are reached.
        reach: Says where providers may be.
        clock_s: Monotonic seconds.
        azure_authority: Where clients of Azure get their tokens.
    """

    def __init__(
        self,
        seal: Seal,
        reach: Reach,
        *,
        clock_s: Callable[[], float] = monotonic,
        azure_authority: str = _AZURE_AUTHORITY,
    ) -> None:
        self._seal = seal
        self._reach = reach
        self._clock_s = clock_s
        self._azure_authority = azure_authority
        self._opened: dict[str, _Opened] = {}
        self._fresh: dict[tuple[str, str], _Fresh] = {}

    async def close(self) -> None:
        """Close all connections."""
        self._fresh.clear()
        opened, self._opened = self._opened, {}
        for each in opened.values():
            await each.retire()

    async def leave(self, provider_id: str) -> None:
        """Close the connections to a provider that is gone."""
        if (opened := self._opened.pop(provider_id, None)) is not None:
            await opened.retire()

    def sealed(self, value: str, *, secret: StoredSecret) -> bytes:
        """Return a value as the internal provider keeps it."""
        name = f"{secret.secret_id} {secret.value_id}"
        return self._seal.seal(value.encode(), owner=secret.algorithm_id, name=name)

    def unsealed(self, secret: StoredSecret) -> str:
        """
        Return a value that the internal provider keeps.

        Raises:
            InternalError: It cannot be read.
        """
        name = f"{secret.secret_id} {secret.value_id}"
        return self._seal.unseal(secret.sealed, owner=secret.algorithm_id, name=name).decode()

    def sealed_configuration(self, provider_id: str, configuration: Mapping[str, str]) -> bytes:
        """Return how a provider is reached, sealed."""
        encoded = msgspec.json.encode(dict(configuration))
        return self._seal.seal(encoded, owner=_PROVIDERS, name=provider_id)

    def configuration(self, provider: SecretProvider) -> dict[str, str]:
        """Return how a provider is reached; the internal one needs nothing."""
        if provider.is_internal:
            return {}
        opened = self._seal.unseal(provider.sealed, owner=_PROVIDERS, name=provider.provider_id)
        return msgspec.json.decode(opened, type=dict[str, str])

    def is_read_only(self, provider: SecretProvider) -> bool:
        """Whether others put values there."""
        return self.configuration(provider).get("read_only") == "true"

    async def values(
        self, secrets: Iterable[StoredSecret], providers: Mapping[str, SecretProvider]
    ) -> dict[str, str]:
        """
        Return the values of all secrets of an algorithm by their variables.

        Raises:
            SecretProviderFailed: One cannot be had.
            SecretProviderDisabled: The same, on purpose.
            SecretInvalid: They are too much together.
        """
        secrets = list(secrets)
        found = await asyncio.gather(
            *(self._value(each, providers.get(each.provider_id)) for each in secrets)
        )
        values = {each.secret_key: value for each, value in zip(secrets, found, strict=True)}
        check_together(values)
        return values

    async def read(self, provider: SecretProvider, place: Place) -> str:
        """
        Return a value from outside, as it is now.

        Raises:
            PathNotFound: There is none.
            SecretProviderFailed: The provider refuses or does not answer.
        """
        value: str | None = None

        async def read(store: SecretStore) -> None:
            nonlocal value
            value = await store.read(place)

        await self._do(provider, read)
        assert value is not None
        return value

    async def write(self, provider: SecretProvider, place: Place, value: str) -> None:
        """
        Keep a value outside.

        Raises:
            SecretProviderFailed: The provider refuses or does not answer.
        """
        await self._do(provider, lambda store: store.write(place, value))

    async def remove(self, provider: SecretProvider, place: Place) -> None:
        """
        Forget a value outside.

        Raises:
            SecretProviderFailed: The provider refuses or does not answer.
        """
        await self._do(provider, lambda store: store.remove(place))

    async def try_out(self, provider: SecretProvider) -> None:
        """
        Ask a provider for a value that cannot be there.

        Raises:
            SecretProviderFailed: It does not answer, or not as it should.
            InvalidInput: It may not be reached.
        """
        some_id = provider.provider_id
        nowhere = Place(algorithm_id=some_id, secret_id=some_id, secret_key=_TRIAL)
        # By connections of its own: it may be refused, and the one there is goes on.
        trial = await self._open(provider)
        try:
            with suppress(PathNotFound), _translated(provider):
                async with asyncio.timeout(SECRET_PROVIDER_ANSWER_S_MAX):
                    await trial.read(nowhere)
        finally:
            await trial.close()

    async def address_of(self, provider: SecretProvider, place: Place) -> str:
        """Return where a value is, in words of the provider."""
        async with self._using(provider) as opened:
            return opened.store.address_of(place)

    def forget(self, algorithm_id: str) -> None:
        """Ask again for what was read for an algorithm."""
        for key, fresh in list(self._fresh.items()):
            if fresh.algorithm_id == algorithm_id:
                del self._fresh[key]

    async def _value(self, secret: StoredSecret, provider: SecretProvider | None) -> str:
        if provider is None:
            raise SecretProviderNotFound("the provider of a secret was deleted")
        if not provider.is_enabled:
            raise SecretProviderDisabled(f"the secret provider {provider.name!r} is disabled")
        if provider.is_internal:
            try:
                return self.unsealed(secret)
            except InternalError as error:
                raise SecretProviderFailed(
                    f"the value of {secret.secret_key} cannot be opened",
                    hint=error.hint,
                    detail=error.detail,
                ) from error
        now = self._clock_s()
        key = (provider.revision, secret.value_id)
        fresh = self._fresh.get(key)
        if fresh is not None and now < fresh.until:
            return fresh.value
        try:
            value = await self.read(provider, place_of(secret))
        except PathNotFound as error:
            raise SecretProviderFailed(
                f"the secret provider {provider.name!r} has no value for {secret.secret_key}",
                detail=error.message,
            ) from error
        self._fresh.pop(key, None)
        while len(self._fresh) >= SECRETS_FRESH_MAX:
            del self._fresh[next(iter(self._fresh))]
        self._fresh[key] = _Fresh(
            algorithm_id=secret.algorithm_id, until=now + SECRET_FRESH_S, value=value
        )
        # What nobody asks for again must not stay in memory either.
        asyncio.get_running_loop().call_later(SECRET_FRESH_S, self._fresh.pop, key, None)
        return value

    async def _do(
        self,
        provider: SecretProvider,
        work: Callable[[SecretStore], Awaitable[None]],
    ) -> None:
        async with self._using(provider) as opened:
            with _translated(provider):
                async with asyncio.timeout(SECRET_PROVIDER_ANSWER_S_MAX), opened.room:
                    await work(opened.store)

    @asynccontextmanager
    async def _using(self, provider: SecretProvider) -> AsyncIterator[_Opened]:
        opened, spare = self._known(provider), None
        if opened is None:
            made = _Opened(revision=provider.revision, store=await self._open(provider))
            opened = self._known(provider)  # others may have been faster
            if opened is None:
                spare = self._opened.get(provider.provider_id)
                opened = self._opened[provider.provider_id] = made
            else:
                spare = made
        opened.users += 1
        try:
            if spare is not None:
                await spare.retire()
            yield opened
        finally:
            await opened.leave()

    def _known(self, provider: SecretProvider) -> _Opened | None:
        known = self._opened.get(provider.provider_id)
        return known if known is not None and known.revision == provider.revision else None

    async def _open(self, provider: SecretProvider) -> SecretStore:
        configuration = self.configuration(provider)
        match provider.kind:
            case ProviderKind.VAULT:
                address = await self._checked(configuration["vault_addr"], "vault_addr")
                return Vault(configuration, address=address)
            case ProviderKind.AZURE:
                address = await self._checked(configuration["vault_url"], "vault_url")
                return KeyVault(configuration, address=address, authority=self._azure_authority)
        raise Unavailable("the internal provider is not opened")

    async def _checked(self, address: str, name: str) -> str:
        check_address(address, f"configuration.{name}", allow_http=True)
        return await self._reach.checked(address)


@contextmanager
def _translated(provider: SecretProvider) -> Iterator[None]:
    try:
        yield
    except PathNotFound:
        raise
    except TimeoutError:
        raise SecretProviderFailed(
            f"the secret provider {provider.name!r} does not answer"
        ) from None
    except AlgoriumError as error:
        _log.warning("a secret provider failed", name=provider.name, error=error.message)
        raise SecretProviderFailed(
            f"the secret provider {provider.name!r} failed: {error.message}",
            detail=error.detail,
        ) from error


def place_of(secret: StoredSecret) -> Place:
    """Return what a provider outside is asked for."""
    return Place(
        algorithm_id=secret.algorithm_id,
        secret_id=secret.secret_id,
        secret_key=secret.secret_key,
    )
