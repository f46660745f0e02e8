"""
What a new algorithm begins with: a small project for each language, which builds and runs as it is.

Templates are ordinary projects with two placeholders, `__ALGO__` and `__USER__`, in the paths and
contents of files.

Source: wire specification of the runtime, "Templates a new algorithm gets".
"""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.languages import Language, language_of
from algorium_server.domain.names import check_algorithm_name

_TEMPLATES: Final = Path(__file__).with_name("templates")
_WITH_DEVELOPMENT_KIT: Final = "java11"
"""Java has two templates: `java` is the older form, in which the platform looks for methods."""


def template_of(language: str) -> str:
    """
    Return the name of the template for the language that settings mean by *language*.

    Raises:
        InvalidInput: There is none.
    """
    known = language_of(language)
    if known is None or not (_TEMPLATES / known.value).is_dir():
        raise InvalidInput(f"there is no template for {language!r}")
    if known is Language.JAVA and language.lower() != Language.JAVA:
        return _WITH_DEVELOPMENT_KIT
    return known.value


def render(template: str, *, user: str, name: str) -> dict[str, bytes]:
    """
    Return the files of a new project by their paths, with slashes.

    Args:
        template: From `template_of`.
        user: Who owns the algorithm.
        name: What it is called; also becomes the name of a module or a class.

    Raises:
        InvalidInput: An algorithm cannot be called so.
    """
    check_algorithm_name(name)
    return _filled(template, lambda text: text.replace("__ALGO__", name).replace("__USER__", user))


def packed(template: str, *, user: str = "", name: str = "") -> bytes:
    """
    Return a template as a compressed archive, the same bytes each time.

    Args:
        template: From `template_of`.
        user: Who owns the algorithm; without it and *name* the placeholders stay.
        name: What it is called.

    Raises:
        InvalidInput: An algorithm cannot be called so.
    """
    if user or name:
        files = render(template, user=user, name=name)
    else:
        files = _filled(template, lambda text: text)
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def render_into(target: Path, template: str, *, user: str, name: str) -> None:
    """Write a new project into the directory *target*; see `render`."""
    for path, content in render(template, user=user, name=name).items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _filled(template: str, fill: Callable[[str], str]) -> dict[str, bytes]:
    directory = _TEMPLATES / template
    return {
        fill(path.relative_to(directory).as_posix()): fill(path.read_text("utf-8")).encode()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
