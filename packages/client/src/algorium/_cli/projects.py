"""The project that a command is about: named, or found around the working directory."""

import io
import json
import re
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from algorium._cli.git import Git
from algorium._cli.program import Failed, Server, UsageError
from algorium._config import Connection
from algorium._errors import AccountNotFound, ApiError, NotAuthenticated
from algorium.wire.refs import AlgorithmRef, RefSyntaxError

if TYPE_CHECKING:
    from algorium import Algorium

CONFIG: Final = "algorithmia.conf"
_REMOTE: Final = re.compile(r"/git/([^/]+)/([^/]+?)(?:\.git)?/?$")
_TEMPLATE_BYTES_MAX: Final = 64 * 2**20
"""Of all files of a template: they take kilobytes; a forged archive could fill the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """
    A directory with the source of an algorithm.

    Attributes:
        root: Of the repository, or where its configuration is.
        ref: Which algorithm.
        language: As its configuration says, or empty.
    """

    root: Path
    ref: AlgorithmRef
    language: str = ""


def ref_of(text: str | None, server: Server | None) -> AlgorithmRef:
    """
    Return the algorithm that was named, or the one around the working directory.

    Raises:
        UsageError: None was named, and there is none here.
    """
    if text is not None:
        return AlgorithmRef.parse(text)
    return project_here(server).ref


def algorithm_of(text: str | None, server: Server | None) -> AlgorithmRef:
    """
    Return the algorithm that was named, or the one around the working directory, as a whole.

    Raises:
        UsageError: A version of it was named, or none was, and there is none here.
    """
    ref = ref_of(text, server)
    if ref.version:  # else a new version would be published of who meant an old one
        raise UsageError(f"this is about all of it: name it as {replace(ref, version='')}")
    return ref


def project_here(server: Server | None) -> Project:
    """
    Return the project around the working directory.

    Where it was cloned from counts more than its configuration, which is often another's.

    Raises:
        UsageError: There is none here.
    """
    connection = (server or Server()).connection()
    here = Path.cwd()
    for root in (here, *here.parents):
        if (root / ".git").exists() or (root / CONFIG).is_file():
            config = _config_in(root)
            ref = _remote_of(root, connection) or _ref_in(config)
            if ref is not None:
                language = config.get("language")
                return Project(
                    root=root, ref=ref, language=language if isinstance(language, str) else ""
                )
            if (root / ".git").exists():
                break
    raise UsageError(
        f"this is no project of an algorithm: name it as OWNER/NAME, or go where {CONFIG} is"
    )


def account_name(client: "Algorium", otherwise: str) -> str:
    """Return your account's name, or *otherwise* if the key may not ask for it."""
    try:
        return client.storage().username
    except ApiError:
        return otherwise


def known_account(client: "Algorium", organization: str) -> str:
    """Return the name of an organization as the server spells it, if the key may ask for it."""
    try:
        return client.storage(organization).username
    except AccountNotFound as error:
        raise Failed(
            f"{organization} is no organization of yours: {error.message}",
            hint="Check the name; an owner of it can make you a member.",
        ) from None
    except NotAuthenticated:
        raise
    except ApiError:
        return organization


def with_owner(text: str, client: "Algorium") -> AlgorithmRef:
    """Return the algorithm that was named; without an owner it is yours."""
    if "/" not in text.strip("/"):
        owner = account_name(client, "")
        if not owner:
            raise UsageError(f"whose is {text}? Name it as OWNER/{text}")
        text = f"{owner}/{text}"
    ref = AlgorithmRef.parse(text)
    if ref.algorithm_id:
        raise UsageError("name the algorithm as OWNER/NAME, not by its id")
    return ref


def unpack(archive: bytes, target: Path) -> None:
    """
    Write the files of a template into a directory.

    Raises:
        Failed: It is no archive of plain files.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            _unpack(files, target)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Failed(f"the template cannot be unpacked: {error}") from error


def _unpack(files: tarfile.TarFile, target: Path) -> None:
    left_bytes = _TEMPLATE_BYTES_MAX
    for member in files:
        path = PurePosixPath(member.name)
        left_bytes -= member.size
        is_inside = not path.is_absolute() and not {"..", ".git"} & set(map(str.lower, path.parts))
        if not is_inside or left_bytes < 0:
            raise Failed(f"the template holds {member.name!r}, which no template does")
        content = files.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        place = target.joinpath(*path.parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.read())
        place.chmod(0o755 if member.mode & 0o100 else 0o644)


def _config_in(root: Path) -> dict[str, Any]:
    try:
        config = json.loads((root / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _ref_in(config: dict[str, Any]) -> AlgorithmRef | None:
    owner, name = config.get("username"), config.get("algoname")
    if not isinstance(owner, str) or not isinstance(name, str):
        return None
    try:
        return AlgorithmRef(owner=owner, name=name)
    except RefSyntaxError:
        return None


def _remote_of(root: Path, connection: Connection) -> AlgorithmRef | None:
    git = Git(directory=root, connection=connection)
    if not (root / ".git").exists() or not git.knows("remote", "get-url", "origin"):
        return None
    match = _REMOTE.search(git.ask("remote", "get-url", "origin"))
    try:
        return AlgorithmRef(owner=match[1], name=match[2]) if match is not None else None
    except RefSyntaxError:
        return None
