"""
Secrets of algorithms, for those who manage them: created, listed, changed, deleted.

Values go in and never come out: only slots of the algorithm get them, see `secret_delivery`.

A value outside is written before the row that names it, and removed before it: a crash in between
leaves a value that nobody asks for, or a secret that can be deleted once more.

Source: wire specification, "Secret store".
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    InternalError,
    NoDefaultSecretProvider,
    NoSuchAlgorithm,
    PathNotFound,
    SecretInvalid,
    SecretNotDeleted,
    SecretNotEditable,
    SecretNotFound,
    SecretProviderDisabled,
    SecretProviderFailed,
    SecretProviderNotFound,
    SecretProviderReadOnly,
    SecretValueMissing,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import SECRETS_PER_ALGORITHM_MAX
from algorium_server.domain.secrets import (
    INTERNAL_PROVIDER_ID,
    SecretProvider,
    StoredSecret,
    check_key,
    check_text,
    check_together,
    check_value,
)
from algorium_server.services.auditing import record
from algorium_server.services.people.secret_delivery import SlotRenewals
from algorium_server.services.people.secret_stores import SecretStores, place_of
from algorium_server.store import secrets as rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_OWNER_TYPE = "algorithm"

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSecret:
    """
    What somebody says of a secret; None where nothing is said.

    Attributes:
        value: An empty one says nothing either: forms send it for "as it was".
    """

    short_name: str
    description: str
    secret_key: str | None = None
    owner_type: str | None = None
    owner_id: str | None = None
    provider_id: str | None = None
    value: str | None = field(default=None, repr=False)


class Secrets:
    """
    Use cases of secrets.

    Every method raises `NoSuchAlgorithm` if there is no such algorithm, and `NotAuthorized` if the
    caller may not change it and is no administrator.

    Args:
        database: Where they are.
        stores: Keeps their values.
        renewals: Has the algorithm's slots replaced; says who may manage them.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        stores: SecretStores,
        renewals: SlotRenewals,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._stores = stores
        self._renewals = renewals
        self._clock = clock

    async def secrets(self, principal: Principal, ref: AlgorithmRef) -> list[StoredSecret]:
        """Return all secrets of an algorithm, by their variables."""
        algorithm = self._renewals.equipped(principal, ref)
        async with self._database.reading() as connection:
            return await rows.secrets_of(connection, algorithm.algorithm_id)

    async def create(
        self, principal: Principal, ref: AlgorithmRef, wanted: WantedSecret
    ) -> StoredSecret:
        """
        Add a secret; calls that begin afterwards find it.

        Raises:
            SecretInvalid: Something about it is wrong, or there is one of that name.
            SecretValueMissing: It has no value.
            SecretProviderNotFound: There is no such provider; also `NoDefaultSecretProvider`.
            SecretProviderDisabled: The provider takes no secrets now.
            SecretProviderReadOnly: The provider takes no values from us.
            SecretProviderFailed: The provider did not take it.
        """
        algorithm = self._renewals.equipped(principal, ref)
        algorithm_id = algorithm.algorithm_id
        _check_owner(wanted, algorithm_id)
        if wanted.secret_key is None:
            raise SecretInvalid("secret_key is missing")
        provider = await self._provider(wanted.provider_id)
        now = self._clock()
        secret = StoredSecret(
            secret_id=str(uuid4()),
            algorithm_id=algorithm_id,
            provider_id=provider.provider_id,
            secret_key=check_key(wanted.secret_key),
            short_name=check_text(wanted.short_name, "short_name"),
            description=check_text(wanted.description, "description"),
            value_id=str(uuid4()),
            sealed=b"",
            created_at=now,
            modified_at=now,
        )
        value = "" if wanted.value is None else check_value(wanted.value)
        if not provider.is_internal:
            async with self._database.reading() as connection:
                await self._check_room(connection, secret, value)
        secret = await self._kept(secret, provider, value)
        try:
            async with self._database.transaction() as connection:
                if not await rows.renew_slots(connection, [algorithm_id]):
                    raise NoSuchAlgorithm
                await self._check_room(connection, secret, value)
                if await rows.provider(connection, provider.provider_id) is None:
                    raise SecretProviderNotFound("the provider was deleted just now")
                if not await rows.add_secret(connection, secret):
                    raise _taken(secret)
                await self._record(
                    connection, principal, AuditAction.SECRET_CREATED, algorithm, secret
                )
        except BaseException:
            if not provider.is_internal and value:
                await self._take_back(secret, provider)
            raise
        await self._renewals.settle()
        return secret

    async def change(
        self, principal: Principal, ref: AlgorithmRef, secret_id: str, wanted: WantedSecret
    ) -> StoredSecret:
        """
        Change what a secret is called, and its value if one is given.

        Raises:
            SecretNotFound: The algorithm has none of that id.
            SecretInvalid: Something about it is wrong; its variable stays as it is called.
            SecretNotEditable: Others change values at this provider.
            SecretProviderDisabled: The provider takes no values now.
            SecretProviderFailed: The provider did not take it.
        """
        algorithm = self._renewals.equipped(principal, ref)
        algorithm_id = algorithm.algorithm_id
        value = check_value(wanted.value) if wanted.value else ""
        while True:
            old, provider = await self._found(algorithm_id, secret_id)
            if wanted.secret_key not in {None, old.secret_key}:
                raise SecretInvalid(
                    f"secret_key of a secret stays as it is ({old.secret_key}): create another one"
                )
            new = replace(
                old,
                short_name=check_text(wanted.short_name, "short_name"),
                description=check_text(wanted.description, "description"),
                modified_at=self._clock(),
            )
            if value:
                _check_enabled(provider)
                if self._stores.is_read_only(provider):
                    raise SecretNotEditable(
                        f"values at the secret provider {provider.name!r} are changed there"
                    )
                new = await self._kept(replace(new, value_id=str(uuid4())), provider, value)
            async with self._database.transaction() as connection:
                if value and not await rows.renew_slots(connection, [algorithm_id]):
                    raise NoSuchAlgorithm
                if value:
                    await self._check_room(connection, new, value)
                if await rows.change_secret(connection, new, was=old.value_id):
                    await self._record(
                        connection,
                        principal,
                        AuditAction.SECRET_CHANGED,
                        algorithm,
                        new,
                        value="changed" if value else "kept",
                    )
                    break
        if value:
            await self._renewals.settle()
        return new

    async def delete(self, principal: Principal, ref: AlgorithmRef, secret_id: str) -> None:
        """
        Delete a secret with its value; calls that begin afterwards do not find it any more.

        Raises:
            SecretNotFound: The algorithm has none of that id.
            SecretNotDeleted: The provider does not forget the value.
        """
        algorithm = self._renewals.equipped(principal, ref)
        algorithm_id = algorithm.algorithm_id
        secret, provider = await self._found(algorithm_id, secret_id)
        is_ours = not provider.is_internal and not self._stores.is_read_only(provider)
        if is_ours and provider.is_enabled:
            try:
                await self._stores.remove(provider, place_of(secret))
            except SecretProviderFailed as error:
                raise SecretNotDeleted(
                    error.message,
                    hint="While an administrator has disabled the provider, secrets are deleted "
                    "without asking it.",
                ) from error
        async with self._database.transaction() as connection:
            await rows.renew_slots(connection, [algorithm_id])
            if not await rows.remove_secret(connection, secret.secret_id):
                raise SecretNotFound
            await self._record(connection, principal, AuditAction.SECRET_DELETED, algorithm, secret)
        await self._renewals.settle()

    async def _record(
        self,
        connection: AsyncConnection,
        principal: Principal,
        action: AuditAction,
        algorithm: Algorithm,
        secret: StoredSecret,
        **detail: str,
    ) -> None:
        await record(
            connection,
            principal,
            action,
            self._renewals.target(algorithm),
            about=algorithm.owner_id,
            detail={"key": secret.secret_key, **detail},
        )

    async def _kept(
        self, secret: StoredSecret, provider: SecretProvider, value: str
    ) -> StoredSecret:
        """Give the value to its provider; returns the secret as it is to be stored."""
        if self._stores.is_read_only(provider):
            if value:
                raise SecretProviderReadOnly(
                    f"the secret provider {provider.name!r} takes no values from here",
                    hint="Put the value there yourself, and send no secret_value.",
                )
            try:
                await self._stores.read(provider, place_of(secret))
            except PathNotFound as error:
                where = await self._stores.address_of(provider, place_of(secret))
                raise SecretValueMissing(
                    f"the secret provider {provider.name!r} has no value at {where}",
                    hint="Put it there first.",
                ) from error
            return secret
        if not value:
            raise SecretValueMissing("secret_value is missing, or empty")
        if provider.is_internal:
            return replace(secret, sealed=self._stores.sealed(value, secret=secret))
        await self._stores.write(provider, place_of(secret), value)
        return secret

    async def _take_back(self, secret: StoredSecret, provider: SecretProvider) -> None:
        async with self._database.reading() as connection:
            known = await rows.secrets_of(connection, secret.algorithm_id)
        if any(each.secret_key == secret.secret_key for each in known):
            return  # it has the same place, and the newest value
        try:
            await self._stores.remove(provider, place_of(secret))
        except SecretProviderFailed as error:
            _log.warning("a value was left at a provider", error=error.message)

    async def _check_room(
        self, connection: AsyncConnection, secret: StoredSecret, value: str
    ) -> None:
        """Check a secret against the others of its algorithm; of those outside it knows names."""
        others = [
            each
            for each in await rows.secrets_of(connection, secret.algorithm_id)
            if each.secret_id != secret.secret_id
        ]
        if any(each.secret_key == secret.secret_key for each in others):
            raise _taken(secret)
        if len(others) >= SECRETS_PER_ALGORITHM_MAX:
            raise SecretInvalid(f"an algorithm may have {SECRETS_PER_ALGORITHM_MAX} secrets")
        check_together({**self._known_values(others), secret.secret_key: value})

    def _known_values(self, secrets: list[StoredSecret]) -> Mapping[str, str]:
        found = {}
        for each in secrets:
            if each.provider_id == INTERNAL_PROVIDER_ID:
                # What cannot be opened any more must not keep anybody from replacing it.
                with suppress(InternalError):
                    found[each.secret_key] = self._stores.unsealed(each)
        return found

    async def _provider(self, provider_id: str | None) -> SecretProvider:
        async with self._database.reading() as connection:
            if provider_id:
                provider = await rows.provider(connection, provider_id.lower())
            else:
                provider = await rows.default_provider(connection)
        if provider is None and provider_id:
            raise SecretProviderNotFound(f"there is no secret provider {provider_id[:80]!r}")
        if provider is None:
            raise NoDefaultSecretProvider
        return _check_enabled(provider)

    async def _found(
        self, algorithm_id: str, secret_id: str
    ) -> tuple[StoredSecret, SecretProvider]:
        async with self._database.reading() as connection:
            secret = await rows.secret(
                connection, algorithm_id=algorithm_id, secret_id=secret_id.lower()
            )
            if secret is None:
                raise SecretNotFound("the algorithm has no such secret")
            provider = await rows.provider(connection, secret.provider_id)
        if provider is None:
            raise SecretProviderNotFound
        return secret, provider


def _check_owner(wanted: WantedSecret, algorithm_id: str) -> None:
    if wanted.owner_type not in {None, _OWNER_TYPE}:
        raise SecretInvalid(f"owner_type must be {_OWNER_TYPE}")
    if wanted.owner_id is not None and wanted.owner_id.lower() != algorithm_id:
        raise SecretInvalid("owner_id must be the id of the algorithm in the path")


def _check_enabled(provider: SecretProvider) -> SecretProvider:
    if not provider.is_enabled:
        raise SecretProviderDisabled(f"the secret provider {provider.name!r} is disabled")
    return provider


def _taken(secret: StoredSecret) -> SecretInvalid:
    return SecretInvalid(f"the algorithm has a secret {secret.secret_key} already")
