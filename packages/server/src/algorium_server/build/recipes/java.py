"""
Projects in Java: Maven builds and tests them, the platform adds what serves them.

    src/main/java/com/algorithmia/algorithm/Algorithm.java   has a `main` and serves itself, with
                                                             the old service's development kit
    src/main/java/algorithmia/NAME/NAME.java                 any public overloads of `apply`

The development kit (`com.algorithmia:algorithm-handler`, later `adk`) is no longer published.
Projects find a replacement of ours under the same names in a repository that only builds see; a
kit that a mirror still has is newer, and so preferred. The same archive serves the second kind.

Of what Maven makes, the archive and the libraries are kept.

Source: wire specification of the runtime, "Builds", "ADK semantics".
"""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import urllib.parse
from contextlib import suppress
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from algorium_server.build.confined import BuildFailed
from algorium_server.build.recipes import toolchain
from algorium_server.build.recipes.workshop import OURS, Workshop
from algorium_server.domain.environments import system_variables

TOOLS: Final = (
    toolchain.Tool(command="java", package="default-jre-headless"),
    toolchain.Tool(command="javac", package="default-jdk-headless", is_for_builds=True),
    toolchain.Tool(command="mvn", package="maven", is_for_builds=True),
)
_POM: Final = "pom.xml"
_SELF_SERVING: Final = "src/main/java/com/algorithmia/algorithm/Algorithm.java"
_REFLECTED: Final = re.compile(r"src/main/java/(algorithmia/(?:[^/]+/)?([^/]+)/\2)\.java")
_ARCHIVE: Final = "java/algorithm.jar"
_KIT: Final = "java/pipe.jar"
_GSON: Final = "java/gson.jar"
_CLASS_PATH: Final = f"{OURS}/{_ARCHIVE}:target/lib/*:{OURS}/java/*"
_NO_PROGRAM: Final = re.compile(r"-(sources|javadoc|tests)\.jar$|^original-")
_MAVEN: Final = ("mvn", "--batch-mode", "--no-transfer-progress", "-Dstyle.color=never")
_HEAP: Final = "-Xmx1g"
"""For Maven itself: the virtual machine would size itself by the host's memory."""

_KIT_GROUP: Final = "com/algorithmia"
_KIT_NAMES: Final = {"algorithm-handler": "1.2", "adk": "1.0"}
"""The oldest versions that the ranges in the old templates admit: any real one comes first."""
_KIT_SOURCE: Final = Path(__file__).with_name("java_kit")


def find_entry(shop: Workshop) -> str:
    """Return the class that slots begin with."""
    if _POM not in shop.files:
        raise BuildFailed(f"no entry point: a project in Java needs a {_POM}")
    if _SELF_SERVING in shop.files:
        return _class_of(_SELF_SERVING.removeprefix("src/main/java/").removesuffix(".java"))
    found = {m[2]: m[1] for path in shop.files if (m := _REFLECTED.fullmatch(path))}
    if shop.name in found or len(found) == 1:
        return _class_of(found.get(shop.name) or next(iter(found.values())))
    raise BuildFailed(
        f"no entry point: expected {_SELF_SERVING} or "
        f"src/main/java/algorithmia/{shop.name}/{shop.name}.java"
    )


async def install(shop: Workshop, entry: str) -> str:
    """Let Maven build and test the project, and keep what slots need; returns the entry."""
    kit = await _kit(shop)
    shop.begin("building and testing with Maven")
    cache = shop.cache("maven")
    settings = _write_settings(shop, repository=kit / "repository")
    await shop.install(
        *(*_MAVEN, "--settings", str(settings), f"-Dmaven.repo.local={cache}"),
        *("package", "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", "-DoutputDirectory=target/lib"),
        failed="the project cannot be built",
        env=_variables(shop),
        caches=(cache,),
        read_only=(kit, settings),
    )
    await asyncio.to_thread(_keep, shop, kit)
    return entry


async def check(shop: Workshop, entry: str) -> None:
    """Load the class as a slot would; of one that serves itself, only look for its `main`."""
    how = "--check-main" if entry.startswith("com.algorithmia.") else "--check"
    await shop.try_out(
        *("java", "-cp", _CLASS_PATH, "algorium.pipe.Main", how, entry),
        failed=f"{entry} cannot be loaded",
    )


async def test(shop: Workshop) -> None:
    """Maven has run the tests already."""


def _class_of(path: str) -> str:
    return path.replace("/", ".")


def _variables(shop: Workshop) -> dict[str, str]:
    options = shop.inherited.get("JAVA_TOOL_OPTIONS_BUILD", "")
    return {
        "MAVEN_OPTS": _HEAP,
        "JAVA_TOOL_OPTIONS": f"-Dfile.encoding=UTF8 {options}".strip(),
    }


def _keep(shop: Workshop, kit: Path) -> None:
    target = shop.tree / "target"
    archives = [path for path in sorted(target.glob("*.jar")) if not _NO_PROGRAM.search(path.name)]
    chosen = [path for path in archives if path.name == "algorithm.jar"] or archives
    if len(chosen) != 1:
        names = ", ".join(path.name for path in chosen) or "none"
        raise BuildFailed(f"expected exactly one archive in target, found {names}")
    shop.keep(chosen[0], _ARCHIVE)
    shop.keep(kit / "pipe.jar", _KIT)
    shop.keep(kit / "gson.jar", _GSON)
    for entry in os.scandir(target):
        if entry.name == "lib" and not entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


# What the platform adds


async def _kit(shop: Workshop) -> Path:
    """Return the directory with our archive; it is made once, from our own code only."""
    kit = shop.caches_dir / f"java-kit-{_hash_of(_KIT_SOURCE)}"
    if not kit.exists():
        shop.begin("preparing the platform's archive for Java")
        await _make_kit(shop, kit)
    return kit


async def _make_kit(shop: Workshop, kit: Path) -> None:
    shop.caches_dir.mkdir(parents=True, exist_ok=True)
    cache = shop.caches_dir / "maven-of-the-platform"
    cache.mkdir(exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{kit.name}.", dir=shop.caches_dir))
    try:
        shutil.copytree(_KIT_SOURCE, making, dirs_exist_ok=True)
        settings = _write_settings(shop)
        code = await shop.tools.run(
            *(*_MAVEN, "--quiet", "--settings", str(settings), f"-Dmaven.repo.local={cache}"),
            *("package", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"),
            cwd=making,
            env={**system_variables(), **shop.reaching_packages(), **_variables(shop)},
            read_only=(settings,),
            writable=(making, cache),
            has_network=True,
        )
        if code != 0:
            raise BuildFailed(f"the platform's archive for Java cannot be made (exit code {code})")
        await asyncio.to_thread(_finish_kit, making, kit)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _finish_kit(making: Path, kit: Path) -> None:
    _lay_out(making)
    making.chmod(0o755)
    with suppress(OSError):  # another build was faster, maybe that of another server
        making.rename(kit)


def _lay_out(kit: Path) -> None:
    """Put the archive where slots get it from, and into a repository for the projects' Maven."""
    archive = next((kit / "target").glob("algorithm-handler-*.jar"))
    shutil.copy(archive, kit / "pipe.jar")
    shutil.copy(next((kit / "target" / "lib").glob("gson-*.jar")), kit / "gson.jar")
    description = (kit / _POM).read_text("utf-8")
    for name, version in _KIT_NAMES.items():
        place = kit / "repository" / _KIT_GROUP / name
        (place / version).mkdir(parents=True)
        shutil.copy(archive, place / version / f"{name}-{version}.jar")
        named = description.replace(
            "<artifactId>algorithm-handler</artifactId>\n  <version>1.2</version>",
            f"<artifactId>{name}</artifactId>\n  <version>{version}</version>",
        )
        (place / version / f"{name}-{version}.pom").write_text(named, "utf-8")
        (place / "maven-metadata.xml").write_text(
            f"<metadata><groupId>com.algorithmia</groupId><artifactId>{name}</artifactId>"
            f"<versioning><release>{version}</release><versions><version>{version}</version>"
            "</versions></versioning></metadata>",
            "utf-8",
        )
    shutil.rmtree(kit / "target")


def _hash_of(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(directory)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


# How Maven reaches packages


def _write_settings(shop: Workshop, *, repository: Path | None = None) -> Path:
    path = shop.work_dir / "settings.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    proxy = shop.inherited.get("HTTPS_PROXY") or shop.inherited.get("https_proxy") or ""
    mirror = shop.inherited.get("MAVEN_MIRROR", "")
    parts = [_proxies(proxy), _mirror(mirror), _profile(repository)]
    path.write_text(f"<settings>{''.join(parts)}</settings>\n", "utf-8")
    return path


def _mirror(url: str) -> str:
    if not url:
        return ""
    return (
        "<mirrors><mirror><id>mirror</id><mirrorOf>external:*</mirrorOf>"
        f"<url>{escape(url)}</url></mirror></mirrors>"
    )


def _proxies(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname:
        return ""
    fields = {
        "id": "proxy",
        "active": "true",
        "protocol": "http",
        "host": parts.hostname,
        "port": str(parts.port or 80),
        "username": urllib.parse.unquote(parts.username or ""),
        "password": urllib.parse.unquote(parts.password or ""),
    }
    text = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in fields.items() if value)
    return f"<proxies><proxy>{text}</proxy></proxies>"


def _profile(repository: Path | None) -> str:
    if repository is None:
        return ""
    return (
        "<profiles><profile><id>platform</id><repositories><repository><id>platform</id>"
        f"<url>{escape(repository.as_uri())}</url></repository></repositories></profile></profiles>"
        "<activeProfiles><activeProfile>platform</activeProfile></activeProfiles>"
    )
