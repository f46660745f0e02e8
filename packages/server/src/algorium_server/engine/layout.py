"""What sandboxes see of this host's file system: found once, at start."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import algorium_runtime
from algorium_runtime import confine
from algorium_server.engine.nat import NAME_SERVER
from algorium_server.engine.sandbox import HOME_DIR, UID, HostLayout

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_PROC_COVERS: Final = ("/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_ETC: Final = (
    "alternatives",
    "ca-certificates.conf",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "protocols",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
"""Public facts about the system. `ssl/private` and everything with a password stays outside."""
_ETC_OF_LANGUAGES: Final = ("R", "java-*-openjdk", "maven")
"""Where Debian keeps parts of language installations: patterns of directories."""
_ETC_OF_HOST_NETWORK: Final = ("hosts", "nsswitch.conf", "resolv.conf", "gai.conf", "host.conf")
_ETC_WRITTEN: Final = {
    "passwd": f"root:x:0:0:root:/:/bin/false\nalgo:x:{UID}:{UID}::{HOME_DIR}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": f"root:x:0:\nalgo:x:{UID}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost algorithm\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\n"
    "services: files\n",
    "resolv.conf": f"nameserver {NAME_SERVER}\n",
}


def find_layout(state_dir: Path) -> HostLayout:
    """
    Look at this host; writes the `etc` directories of sandboxes below *state_dir*.

    Copied rather than mounted file by file: one mount instead of twenty at every start.
    """
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))  # no venv's
    isolated = _write_etc(state_dir / "etc-isolated", source=Path("/etc"), copy=_copy_file)
    return HostLayout(
        system_dirs=tuple(path for path in _SYSTEM if os.path.isdir(path) and not _is_link(path)),
        system_links=tuple((path, os.readlink(path)) for path in _SYSTEM if _is_link(path)),
        etc_isolated=isolated,
        # nearly the same again, hundreds of files: those are links
        etc_host=_write_etc(
            state_dir / "etc-host",
            source=Path(isolated),
            copy=_link,
            of_host=_ETC_OF_HOST_NETWORK,
        ),
        etc_files=tuple(
            f"/etc/{name}"
            for name in (*_ETC, *_languages_in_etc(), *_ETC_OF_HOST_NETWORK, "passwd", "group")
        ),
        proc_covers=tuple(path for path in _PROC_COVERS if os.path.exists(path)),
        python=python,
        python_prefix=os.path.realpath(sys.base_prefix),
        runtime_dir=os.path.dirname(os.path.realpath(str(algorium_runtime.__file__))),
        landlock_abi=confine.landlock_abi(),
        is_root=os.geteuid() == 0,
        proc_secrets=tuple(_secrets()) if os.geteuid() == 0 else (),
    )


def _secrets() -> Iterator[str]:
    """Yield the files of `/proc` itself that strangers may not read: addresses, page tables."""
    with os.scandir("/proc") as found:
        for entry in found:
            is_file = entry.is_file(follow_symlinks=False)
            if is_file and not entry.stat(follow_symlinks=False).st_mode & stat.S_IROTH:
                yield entry.path


def _is_link(path: str) -> bool:
    return os.path.islink(path)


def _write_etc(
    directory: Path,
    *,
    source: Path,
    copy: Callable[[str, str], object],
    of_host: tuple[str, ...] = (),
) -> str:
    fresh = directory.with_name(f"{directory.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, text in _ETC_WRITTEN.items():
        (fresh / name).write_text(text)
    for name in (*_ETC, *_languages_in_etc()):
        with suppress(OSError, shutil.Error):  # unreadable or half there: not for sandboxes either
            _copy(source / name, fresh / name, copy)
    for name in of_host:
        with suppress(OSError):
            shutil.copyfile(Path("/etc", name), fresh / name)
    for path in (fresh, *_directories(fresh)):
        path.chmod(0o755)
    shutil.rmtree(directory, ignore_errors=True)
    fresh.rename(directory)
    return str(directory.resolve())


def _languages_in_etc() -> Iterator[str]:
    return (path.name for pattern in _ETC_OF_LANGUAGES for path in Path("/etc").glob(pattern))


def _copy(source: Path, target: Path, copy: Callable[[str, str], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        _copy_tree(source, target, copy)
    elif source.is_file() or source.is_symlink():
        shutil.copyfile(source, target, follow_symlinks=False)


def _copy_tree(source: Path, target: Path, copy: Callable[[str, str], object]) -> None:
    target.mkdir()
    with os.scandir(source) as found:
        for entry in found:
            copied = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                _copy_tree(Path(entry.path), copied, copy)
            elif not _is_of_no_use(entry):
                with suppress(OSError):  # unreadable: not for sandboxes either
                    copy(entry.path, str(copied))


def _is_of_no_use(entry: os.DirEntry[str]) -> bool:
    """Whether it is a device, or one of the hundreds of names of manual pages."""
    if entry.is_symlink():
        return "/man/" in os.readlink(entry.path)
    return not entry.is_file(follow_symlinks=False)


def _copy_file(source: str, target: str) -> None:
    shutil.copy2(source, target, follow_symlinks=False)


def _link(source: str, target: str) -> None:
    """Take a second name: symbolic links as well, since new ones cost twenty times as much."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without them
        _copy_file(source, target)


def _directories(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())
