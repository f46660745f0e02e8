"""
What is told of a version beside the version: bill of materials, lock, provenance, schemas.

They are made when it is published, of what the build left, and stored with it. Who may call a
version may see its schemas and its provenance, which names digests and people; the bill and the
lock name packages, private ones as well, and are for those who may read its source or its logs.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from importlib.metadata import version as version_of_distribution
from pathlib import Path
from typing import Final

from algorium.wire.refs import AlgorithmRef
from algorium_server.build import bill
from algorium_server.domain.access import is_cluster_admin
from algorium_server.domain.algorithms import Algorithm, Build, Resolved, Signature, Version
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import NotAuthorized, NotFound, VersionNotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.languages import Language
from algorium_server.domain.limits import VERSION_DOCUMENT_BYTES_MAX
from algorium_server.domain.provenance import Origin, statement
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database

_NAMESPACE: Final = uuid.UUID("6f0d9f5e-5a0f-4b52-9f0e-2d6a3c6f1b7a")
"""Bills have serial numbers: the same version gets the same one."""


class Kind(StrEnum):
    """Documents of a version, as they are kept."""

    BILL = "sbom"
    LOCK = "lock"
    PROVENANCE = "provenance"


class Documents:
    """
    Use cases around documents.

    Args:
        database: Where they are.
        directory: What there is.
        authors: Says who may do what.
        builds_dir: Where trees of builds are, by build id.
        environments_dir: Where environments are, by key.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        authors: Authors,
        builds_dir: Path,
        environments_dir: Path,
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._builds_dir = builds_dir
        self._environments_dir = environments_dir

    async def of_new(
        self, algorithm: Algorithm, build: Build, version: Version
    ) -> Mapping[str, str]:
        """
        Return the documents of a version that is about to be published, by kind.

        Args:
            algorithm: Whose.
            build: With its lock.
            version: With its number.
        """
        owner = self._directory.owner_name(algorithm)
        return await asyncio.to_thread(self._make, owner, algorithm, build, version)

    def find(self, principal: Principal, ref: AlgorithmRef) -> Resolved:
        """
        Return the version, or the commit, that a reference means for somebody who may see it.

        Without a version it is the newest public one, or else the newest.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: It is nothing for the caller.
            VersionNotFound: There is no such version for this caller.
        """
        self._authors.algorithm(principal, ref, Act.SEE)
        versions = (ref.version,) if ref.version else ("latest", "latestPrivate")
        for version in versions:
            resolved = self._directory.resolve(
                replace(ref, version=version), principal, is_sudo=is_cluster_admin(principal)
            )
            if resolved is not None:
                return resolved
        raise VersionNotFound

    async def signature(self, resolved: Resolved) -> Signature:
        """Return what a version takes and gives."""
        async with self._database.reading() as connection:
            build = await rows.build(connection, resolved.build.build_id)
        return build.signature if build is not None else Signature()

    async def document(self, principal: Principal, ref: AlgorithmRef, kind: Kind) -> str:
        """
        Return a document of a version.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: The caller may not see the version, or not this document.
            VersionNotFound: There is no such version for this caller.
            NotFound: The version has no such document.
        """
        resolved = self.find(principal, ref)
        if kind is not Kind.PROVENANCE and not any(
            self._authors.may(principal, act, resolved.algorithm)
            for act in (Act.READ_SOURCE, Act.READ_LOGS)
        ):
            raise NotAuthorized(detail="neither source nor logs may be read")
        async with self._database.reading() as connection:
            found = None
            if resolved.version is not None:
                version_id = resolved.version.version_id
                found = await rows.document(connection, version_id, kind=kind)
            if found is None and kind is Kind.LOCK and _is_python(resolved.build):
                build = await rows.build(connection, resolved.build.build_id)
                found = build.lock if build is not None else None
        if found is None:
            raise NotFound(f"{ref.uri} has no {kind.value}")
        return found

    def _make(
        self, owner: str, algorithm: Algorithm, build: Build, version: Version
    ) -> Mapping[str, str]:
        environment = self._environments_dir / build.environment
        tree = self._builds_dir / build.build_id
        interpreter = ""
        documents: dict[str, str] = {}
        notes: tuple[str, ...] = ()
        if _is_python(build):
            parts = bill.python_parts(build.lock, environment)
            interpreter = bill.interpreter_version(environment)
        else:
            parts, notes = bill.other_parts(build.language, tree)
            lock = bill.lock_file(build.language, tree)
            if lock and len(lock.encode()) < VERSION_DOCUMENT_BYTES_MAX:
                documents[Kind.LOCK] = lock
        whole = bill.Whole(
            name=f"{owner}/{algorithm.name}",
            version=str(version.semantic_version),
            commit_sha=build.commit_sha,
            tree_digest=build.tree_digest,
            language=build.language.value,
            licence=algorithm.settings.license,
            summary=algorithm.tagline or algorithm.summary,
            notes=notes,
        )
        documents[Kind.BILL] = bill.bill_of_materials(
            whole,
            parts,
            serial_number=uuid.uuid5(_NAMESPACE, version.version_id),
            made_at=version.published_at,
        )
        origin = Origin(
            owner=owner,
            requested_by=self._name(build.requested_by),
            published_by=self._name(version.publisher_id),
            server_version=version_of_distribution("algorium-server"),
            interpreter=interpreter,
        )
        documents[Kind.PROVENANCE] = json.dumps(
            statement(algorithm, build, version, origin), indent=2
        )
        return documents

    def _name(self, account_id: str) -> str:
        account = self._directory.account(account_id) if account_id else None
        return account.username if account is not None else ""


def _is_python(build: Build) -> bool:
    return build.language in {Language.PYTHON, Language.PYTHON_PIPE}
