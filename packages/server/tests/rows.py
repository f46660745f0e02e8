"""Values that tests put into the store."""

import itertools
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from algorium_server.domain.algorithms import (
    Algorithm,
    Build,
    BuildStatus,
    Callability,
    NetworkAccess,
    Version,
)
from algorium_server.domain.collections import Collection, CollectionKind, File
from algorium_server.domain.identity import Account, AccountKind, ApiKey, KeyKind, KeyPermissions
from algorium_server.domain.jobs import Job
from algorium_server.domain.usage import UsageOutcome, UsageRecord, UsageSubject
from algorium_server.domain.versions import SemanticVersion

NOW = datetime(2026, 3, 29, 1, 2, 3, 456789, tzinfo=UTC)

_numbers = itertools.count(1)


def new_id() -> str:
    return str(UUID(int=next(_numbers)))


def account(username: str = "jane", **fields) -> Account:
    fields.setdefault("kind", AccountKind.USER)
    return Account(account_id=new_id(), username=username, created_at=NOW, **fields)


def key(account_id: str, **fields) -> ApiKey:
    defaults = {"label": "default-key", "kind": KeyKind.STANDARD, "permissions": KeyPermissions()}
    return ApiKey(key_id=new_id(), account_id=account_id, created_at=NOW, **(defaults | fields))


def algorithm(owner_id: str, name: str = "Hello", **fields) -> Algorithm:
    return Algorithm(algorithm_id=new_id(), owner_id=owner_id, name=name, created_at=NOW, **fields)


def build(algorithm_id: str, **fields) -> Build:
    defaults = {
        "commit_sha": "ab" * 20,
        "status": BuildStatus.IN_PROGRESS,
        "started_at": NOW,
    }
    return Build(build_id=new_id(), algorithm_id=algorithm_id, **(defaults | fields))


def version(of: Build, number: str, **fields) -> Version:
    defaults = {
        "callability": Callability.PRIVATE,
        "network_access": NetworkAccess.ISOLATED,
        "is_pipeline_enabled": True,
    }
    return Version(
        version_id=new_id(),
        algorithm_id=of.algorithm_id,
        build_id=of.build_id,
        commit_sha=of.commit_sha,
        semantic_version=SemanticVersion.parse(number),
        published_at=NOW,
        **(defaults | fields),
    )


def collection(owner_id: str, name: str = "images", **fields) -> Collection:
    fields.setdefault("kind", CollectionKind.ACCOUNT)
    fields.setdefault("created_at", NOW)
    return Collection(collection_id=new_id(), owner_id=owner_id, name=name, **fields)


def file(collection_id: str, name: str = "a.txt", **fields) -> File:
    defaults = {
        "size_bytes": 12,
        "blob": f"blob-{next(_numbers)}",
        "md5": "0" * 32,
        "checksum": f"blake3:{'0' * 64}",
        "modified_at": NOW,
    }
    return File(file_id=new_id(), collection_id=collection_id, name=name, **(defaults | fields))


def job(account_id: str, **fields) -> Job:
    defaults = {"kind": "call", "payload": b"payload", "due_at": NOW, "created_at": NOW}
    return Job(job_id=new_id(), account_id=account_id, **(defaults | fields))


NOW_US = int(NOW.timestamp() * 1_000_000)


def usage_subject(**fields) -> UsageSubject:
    defaults = {
        "account_id": new_id(),
        "caller": "jane",
        "key_id": new_id(),
        "algorithm_id": new_id(),
        "algorithm": "demo/Hello",
        "version": "1.0.0",
        "commit_sha": "ab" * 20,
    }
    return UsageSubject(**(defaults | fields))


def usage_record(**fields) -> UsageRecord:
    request_id = f"req-{new_id()}"
    defaults = {
        "request_id": request_id,
        "tree_id": request_id,
        "started_us": NOW_US,
        "subject": _SUBJECT,
        "outcome": UsageOutcome.SUCCESS,
        "error_type": "",
        "is_void": False,
        "queue_s": 0.0,
        "load_s": 0.0,
        "run_s": 0.25,
        "cpu_s": 0.125,
        "peak_memory_bytes": 1_000_000,
        "input_bytes": 10,
        "output_bytes": 20,
    }
    return UsageRecord(**(defaults | fields))


changed = msgspec.structs.replace

_SUBJECT = usage_subject()
