"""
Source hosts: which there are, and administrators who decide that.

Source: wire specification, "SCM object".
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from algorium_server.domain.access import is_cluster_admin
from algorium_server.domain.algorithms import INTERNAL_SCM
from algorium_server.domain.audit import AuditAction, changed_names
from algorium_server.domain.errors import (
    InvalidInput,
    NotAuthorized,
    ScmChangeInvalid,
    ScmConflict,
    ScmDisabled,
    ScmEnabled,
    ScmFixed,
    ScmInvalid,
    ScmIsDefault,
    ScmNotFound,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.scm_names import check_scm_id, check_urls, check_word
from algorium_server.domain.scms import (
    Provider,
    Scm,
    ScmUrls,
    internal_object,
    provider_named,
    scm_object,
)
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.store import scms as rows
from algorium_server.store.database import Database

_SEALED_AS: Final = "oauth client"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedScm:
    """
    What an administrator says of a host; None where nothing is said.

    Attributes:
        client_id: Of the OAuth application, or the project's key.
        client_secret: Of the application.
    """

    scm_id: str | None = None
    provider: str | None = None
    name: str | None = None
    is_enabled: bool | None = None
    urls: ScmUrls | None = None
    client_id: str | None = None
    client_secret: str | None = None


class Scms:
    """
    Use cases of source hosts.

    Args:
        database: Where they are kept.
        scms: The same in memory.
        seal: Seals the secrets of applications.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        scms: ScmDirectory,
        seal: Seal,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._scms = scms
        self._seal = seal
        self._clock = clock

    def objects(self) -> list[dict[str, Any]]:
        """Return all hosts as objects of the API, the internal one first."""
        return [self._internal(), *(scm_object(scm) for scm in self._scms.scms())]

    def object(self, scm_id: str) -> dict[str, Any]:
        """
        Return a host as an object of the API.

        Raises:
            ScmNotFound: There is none.
        """
        return self._internal() if scm_id == INTERNAL_SCM else scm_object(self.scm(scm_id))

    def scm(self, scm_id: str) -> Scm:
        """
        Return a host, the internal one excepted.

        Raises:
            ScmNotFound: There is none.
        """
        scm = self._scms.scm(scm_id)
        if scm is None:
            raise ScmNotFound(f"there is no source host {scm_id[:80]!r}")
        return scm

    async def create(self, principal: Principal, wanted: WantedScm) -> dict[str, Any]:
        """
        Add a host.

        Raises:
            NotAuthorized: The caller is no administrator.
            ScmInvalid: Something is missing, or has a form that it cannot have.
            ScmConflict: There is one with this id, or the same one under another.
        """
        _check_admin(principal)
        try:
            scm, secret = self._made(wanted)
        except InvalidInput as error:
            raise ScmInvalid(error.message) from error
        if scm.scm_id == INTERNAL_SCM:
            raise ScmConflict("there is a source host 'internal' already")
        async with self._database.transaction() as connection:
            _check_only_one(scm, await rows.scms(connection))
            scm = replace(scm, sealed=self._sealed(scm.scm_id, secret))
            await rows.add_scm(connection, scm)
            await record(
                connection,
                principal,
                AuditAction.SCM_CREATED,
                f"scm:{scm.scm_id}",
                detail={"provider": scm.provider.value},
            )
        self._scms.put_scm(scm)
        return scm_object(scm)

    async def change(self, principal: Principal, scm_id: str, wanted: WantedScm) -> dict[str, Any]:
        """
        Change what is said of a host; the rest stays.

        Raises:
            NotAuthorized: The caller is no administrator.
            ScmFixed: It is the internal one.
            ScmNotFound: There is none.
            ScmChangeInvalid: Nothing is said, or something that cannot be.
            ScmIsDefault: The default one cannot be disabled.
            ScmConflict: It would be the same as another one.
        """
        _check_admin(principal)
        if scm_id == INTERNAL_SCM:
            raise ScmFixed
        if not _says_something(wanted):
            raise ScmChangeInvalid("give enabled, urls, name or oauth")
        async with self._database.transaction() as connection:
            known = await rows.scm(connection, scm_id)
            if known is None:
                raise ScmNotFound(f"there is no source host {scm_id[:80]!r}")
            if wanted.is_enabled is False and known.is_default:
                raise ScmIsDefault("make another source host the default before you disable it")
            try:
                changed = self._changed(known, wanted)
            except InvalidInput as error:
                raise ScmChangeInvalid(error.message) from error
            _check_only_one(changed, await rows.scms(connection))
            await rows.update_scm(connection, changed)
            await record(
                connection,
                principal,
                AuditAction.SCM_CHANGED,
                f"scm:{scm_id}",
                detail={"changed": changed_names(known, changed)},
            )
        self._scms.put_scm(changed)
        return scm_object(changed)

    async def remove(self, principal: Principal, scm_id: str) -> None:
        """
        Remove a host, with all connections to it.

        Raises:
            NotAuthorized: The caller is no administrator.
            ScmFixed: It is the internal one.
            ScmNotFound: There is none.
            ScmIsDefault: It is the default one.
            ScmEnabled: It is enabled.
            ScmInUse: Algorithms have their source there.
        """
        _check_admin(principal)
        if scm_id == INTERNAL_SCM:
            raise ScmFixed
        async with self._database.transaction() as connection:
            known = await rows.scm(connection, scm_id)
            if known is None:
                raise ScmNotFound(f"there is no source host {scm_id[:80]!r}")
            if known.is_default:
                raise ScmIsDefault
            if known.is_enabled:
                raise ScmEnabled("disable the source host before you delete it")
            await rows.remove_scm(connection, scm_id)
            await record(connection, principal, AuditAction.SCM_DELETED, f"scm:{scm_id}")
        self._scms.remove_scm(scm_id)

    async def set_default(self, principal: Principal, scm_id: str) -> None:
        """
        Make a host the one for new algorithms that name none.

        Raises:
            NotAuthorized: The caller is no administrator.
            ScmNotFound: There is none.
            ScmDisabled: It takes no new algorithms.
        """
        _check_admin(principal)
        async with self._database.transaction() as connection:
            if scm_id != INTERNAL_SCM:
                known = await rows.scm(connection, scm_id)
                if known is None:
                    raise ScmNotFound(f"there is no source host {scm_id[:80]!r}")
                if not known.is_enabled:
                    raise ScmDisabled("enable the source host before you make it the default")
            await rows.set_default(connection, "" if scm_id == INTERNAL_SCM else scm_id)
            await record(
                connection,
                principal,
                AuditAction.SCM_CHANGED,
                f"scm:{scm_id}",
                detail={"changed": "default"},
            )
        self._scms.put_default(scm_id)

    def client_secret(self, scm: Scm) -> str:
        """Return the secret of a host's OAuth application, empty if it has none."""
        if not scm.sealed:
            return ""
        return self._seal.unseal(scm.sealed, owner=scm.scm_id, name=_SEALED_AS).decode()

    def _internal(self) -> dict[str, Any]:
        return internal_object(is_default=self._scms.default_id == INTERNAL_SCM)

    def _made(self, wanted: WantedScm) -> tuple[Scm, str]:
        provider = provider_named(wanted.provider or "")
        if provider is None or provider is Provider.INTERNAL:
            others = ", ".join(p.value for p in Provider if p is not Provider.INTERNAL)
            raise InvalidInput(f"provider must be one of {others}")
        if wanted.urls is None:
            raise InvalidInput("urls.web, urls.api and urls.ssh are needed")
        client_id = check_word(wanted.client_id or "", "client_id")
        secret = check_word(wanted.client_secret or "", "client_secret")
        if provider.has_oauth and not (client_id and secret):
            raise InvalidInput("oauth.client_id and oauth.client_secret are needed")
        if not provider.has_oauth and not client_id:
            raise InvalidInput("scm.project_key is needed")
        scm = Scm(
            scm_id=check_scm_id(wanted.scm_id) if wanted.scm_id else str(uuid.uuid4()),
            provider=provider,
            name=check_word(wanted.name or "", "name"),
            urls=check_urls(wanted.urls),
            client_id=client_id,
            is_enabled=wanted.is_enabled is not False,
            created_at=self._clock(),
        )
        return scm, secret if provider.has_oauth else ""

    def _changed(self, known: Scm, wanted: WantedScm) -> Scm:
        urls = known.urls if wanted.urls is None else check_urls(wanted.urls)
        sealed = known.sealed
        if wanted.client_secret and known.provider.has_oauth:
            sealed = self._sealed(known.scm_id, check_word(wanted.client_secret, "client_secret"))
        return replace(
            known,
            urls=urls,
            name=known.name if wanted.name is None else check_word(wanted.name, "name"),
            client_id=check_word(wanted.client_id or known.client_id, "client_id"),
            sealed=sealed,
            is_enabled=known.is_enabled if wanted.is_enabled is None else wanted.is_enabled,
        )

    def _sealed(self, scm_id: str, secret: str) -> bytes:
        if not secret:
            return b""
        return self._seal.seal(secret.encode(), owner=scm_id, name=_SEALED_AS)


def _says_something(wanted: WantedScm) -> bool:
    said = (wanted.is_enabled, wanted.urls, wanted.name, wanted.client_id, wanted.client_secret)
    return any(each is not None for each in said)


def _check_only_one(scm: Scm, known: Iterable[Scm]) -> None:
    for other in known:
        if other.scm_id != scm.scm_id and _is_same(other, scm):
            raise ScmConflict(f"the source host {other.scm_id!r} is the same one")


def _is_same(one: Scm, other: Scm) -> bool:
    return (
        one.provider is other.provider
        and one.client_id == other.client_id
        and one.urls.web.rstrip("/").lower() == other.urls.web.rstrip("/").lower()
    )


def _check_admin(principal: Principal) -> None:
    if not is_cluster_admin(principal):
        raise NotAuthorized(detail="only administrators, with an admin key, decide about hosts")
