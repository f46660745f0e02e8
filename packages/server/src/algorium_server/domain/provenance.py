"""
Where a version comes from, as an in-toto statement with SLSA provenance.

The statement names what was built (the source tree by its digest, the environment by its key), of
what (the commit, the lock, the interpreter), by whom and when. It is not signed: it is as
trustworthy as the server that tells it.

Source: in-toto attestation framework, "Statement v1"; SLSA, "Provenance v1".
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from algorium_server.domain.algorithms import Algorithm, Build, Version

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:algorium:build:v1"
BUILDER: Final = "urn:algorium:server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """
    What the rows of a version do not say themselves.

    Attributes:
        owner: Name of the algorithm's owner.
        requested_by: Name of who asked for the build; empty for nobody in particular.
        published_by: Name of who published it; empty for the server itself.
        server_version: Of the server that published it.
        interpreter: Version of the Python that runs it, empty for other languages.
    """

    owner: str
    requested_by: str
    published_by: str
    server_version: str
    interpreter: str


def statement(
    algorithm: Algorithm, build: Build, version: Version, origin: Origin
) -> Mapping[str, Any]:
    """Return the statement about a version, as JSON has it."""
    name = f"{origin.owner}/{algorithm.name}"
    repository = f"git+urn:algorium:{algorithm.algorithm_id}"
    subjects = [_named(f"{name}/{version.semantic_version}", sha256=build.tree_digest)]
    if build.environment:
        subjects.append(_named("environment", algoriumEnvironmentKey=build.environment))
    dependencies = [
        {"uri": f"{repository}@{build.commit_sha}", "digest": {"gitCommit": build.commit_sha}}
    ]
    if build.lock:
        digest = hashlib.sha256(build.lock.encode("utf-8", "surrogatepass")).hexdigest()
        dependencies.append(_named("requirements.lock", sha256=digest))
    if origin.interpreter:
        dependencies.append({"uri": f"pkg:generic/cpython@{origin.interpreter}"})
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "algorithm": name,
                    "commit": build.commit_sha,
                    "language": build.language.value,
                    "entry": build.entry,
                },
                "internalParameters": {
                    "trigger": build.trigger.value,
                    "requestedBy": origin.requested_by,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {"algorium-server": origin.server_version},
                },
                "metadata": {
                    "invocationId": build.build_id,
                    "startedOn": _moment(build.began_at or build.started_at),
                    "finishedOn": _moment(build.finished_at or build.started_at),
                    "algorium_publishedBy": origin.published_by,
                    "algorium_publishedOn": _moment(version.published_at),
                },
            },
        },
    }


def _named(name: str, **digests: str) -> dict[str, Any]:
    return {"name": name, "digest": {kind: digest for kind, digest in digests.items() if digest}}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
