"""Builds of hostile projects, by the server's own parts: repository, builder, sandboxes."""

import asyncio
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo

from algorium_server.build.builder import Builder
from algorium_server.build.environments import Environments
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm, AlgorithmSettings, Build, BuildStatus
from algorium_server.engine.host import SandboxHost
from algorium_server.services.authoring.confining import SandboxedJobs

Entry = tuple[bytes, int, "bytes | list[Entry]"]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
HELLO = b"def apply(input):\n    return input\n"


@dataclass(kw_only=True)
class Workshop:
    """
    Everything that builds, in one home.

    Attributes:
        home: As a server lays it out.
        index: A directory that the operator declared to be one of packages.
    """

    home: Path
    index: Path
    runner: asyncio.Runner
    host: SandboxHost
    builds: int = 0
    packages: int = 0

    @property
    def repositories(self) -> Repositories:
        return Repositories(self.home / "repos")

    def build(self, files: dict[str, bytes], *, owner: str = "mallory") -> Build:
        """Commit and build a project; an `algorithmia.conf` is put beside its files."""
        algorithm = self._new_algorithm(owner)
        files = {"algorithmia.conf": b'{"algoname": "Hello"}', "src/Hello.py": HELLO, **files}
        author = Signature(name="Mallory", email="m@example.org", at=NOW)
        sha = self.runner.run(
            self.repositories.commit(
                owner, algorithm.algorithm_id, files, author=author, message="x"
            )
        )
        return self._build(algorithm, sha)

    def build_with(self, package: "Package") -> Build:
        """Build a project that needs a package, which its author got into the index."""
        self.packages += 1
        version = f"1.{self.packages}"
        (self.index / f"pkg-{version}{package.suffix}").write_bytes(package.pack(version))
        return self.build({"requirements.txt": f"--no-index\npkg=={version}\n".encode()})

    def build_forged(self, entries: list[Entry]) -> Build:
        """Build a commit whose tree git itself would refuse to make."""
        algorithm = self._new_algorithm("mallory")
        path = self.repositories.path("mallory", algorithm.algorithm_id)
        with Repo(str(path)) as repository:
            commit = Commit()
            commit.tree = _forged_tree(repository, entries)
            commit.author = commit.committer = b"Mallory <>"
            commit.author_time = commit.commit_time = 0
            commit.author_timezone = commit.commit_timezone = 0
            commit.message = b"Forged"
            repository.object_store.add_object(commit)
        return self._build(algorithm, commit.id.decode())

    def site_packages(self, build: Build) -> Path:
        """Return where the packages of a build are installed."""
        return next((self.home / "envs" / build.environment).glob("lib/python*/site-packages"))

    def _new_algorithm(self, owner: str) -> Algorithm:
        self.builds += 1
        algorithm = Algorithm(
            algorithm_id=f"algorithm{self.builds}",
            owner_id=owner,
            name="Hello",
            label="Hello",
            summary="",
            tagline="",
            settings=AlgorithmSettings(),
            created_at=NOW,
        )
        self.runner.run(self.repositories.create(owner, algorithm.algorithm_id))
        return algorithm

    def _build(self, algorithm: Algorithm, sha: str) -> Build:
        builder = Builder(
            repositories=self.repositories,
            environments=Environments(
                self.home / "envs", inherited={"UV_FIND_LINKS": str(self.index)}
            ),
            builds_dir=self.home / "builds",
            run_confined=SandboxedJobs(self.host),
        )
        build = Build(
            build_id=f"build{self.builds}",
            algorithm_id=algorithm.algorithm_id,
            commit_sha=sha,
            status=BuildStatus.IN_PROGRESS,
            started_at=NOW,
        )
        return self.runner.run(builder.build(build, algorithm=algorithm))


def _forged_tree(repository: Repo, entries: list[Entry]) -> ObjectID:
    lines = b""
    for name, mode, content in entries:
        if isinstance(content, list):
            target = _forged_tree(repository, content)
        else:
            blob = Blob.from_string(content)
            repository.object_store.add_object(blob)
            target = blob.id
        lines += b"%o %s\0" % (mode, name) + bytes.fromhex(target.decode())
    tree = Tree.from_string(lines)
    repository.object_store.add_object(tree)
    return tree.id


class Package(Protocol):
    """A package called `pkg`."""

    suffix: str

    def pack(self, version: str) -> bytes:
        """Return its archive."""


@dataclass(frozen=True, kw_only=True)
class SourcePackage:
    """
    A package that must be built to be installed.

    Attributes:
        backend: Text of the module that builds it; `make_wheel(directory, files)` is there.
        add: Puts further members into the archive; gets that and its top directory.
    """

    backend: str
    add: Callable[[tarfile.TarFile, str], None] = lambda *_: None
    suffix: str = ".tar.gz"

    def pack(self, version: str) -> bytes:
        top = f"pkg-{version}"
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in {
                "PKG-INFO": _METADATA,
                "pyproject.toml": _PYPROJECT,
                "backend.py": f"{_MAKE_WHEEL}\n{self.backend}",
            }.items():
                content = text.replace("VERSION", version).encode()
                member = tarfile.TarInfo(f"{top}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            self.add(archive, top)
        return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A package to be unpacked; `VERSION` in paths stands for its version."""

    files: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)
    suffix: str = "-py3-none-any.whl"

    def pack(self, version: str) -> bytes:
        info = f"pkg-{version}.dist-info"
        files = {name.replace("VERSION", version): text for name, text in self.files.items()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            for name, target in self.links.items():
                member = zipfile.ZipInfo(name)
                member.external_attr = 0o120777 << 16
                archive.writestr(member, target)
            archive.writestr(f"{info}/METADATA", _METADATA.replace("VERSION", version))
            archive.writestr(f"{info}/WHEEL", _WHEEL)
            archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files))
        return buffer.getvalue()


_METADATA = "Metadata-Version: 2.1\nName: pkg\nVersion: VERSION\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "pkg"
version = "VERSION"
"""
_MAKE_WHEEL = """
import zipfile

def make_wheel(directory, files):
    name = "pkg-VERSION-py3-none-any.whl"
    info = "pkg-VERSION.dist-info"
    with zipfile.ZipFile(directory + "/" + name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(info + "/METADATA",
            "Metadata-Version: 2.1\\nName: pkg\\nVersion: VERSION\\n")
        archive.writestr(info + "/WHEEL",
            "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "".join(path + ",,\\n" for path in files))
    return name
"""
