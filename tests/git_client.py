"""git as a user has it: the real program, with a home of its own."""

import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit


class GitClient:
    """
    Runs git.

    Args:
        home: Becomes its home directory; clones are made there.

    Attributes:
        env: Its environment; nothing of this machine's configuration is in it.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Jane",
            "GIT_AUTHOR_EMAIL": "jane@example.org",
            "GIT_COMMITTER_NAME": "Jane",
            "GIT_COMMITTER_EMAIL": "jane@example.org",
        }

    def __call__(self, *arguments: Any, cwd: Path | None = None, **options: Any) -> str:
        """Run git to its end, and return what it said; fails if git does."""
        done = self.run(*arguments, cwd=cwd, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    def run(
        self, *arguments: Any, cwd: Path | None = None, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run git to its end, whatever that is."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(
            ["git", *map(str, arguments)], cwd=cwd or self.home, env=self.env, **options
        )

    def start(self, *arguments: Any, cwd: Path) -> "subprocess.Popen[str]":
        """Start git; its output comes in one stream."""
        return subprocess.Popen(
            ["git", *map(str, arguments)],
            cwd=cwd,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def clone(self, url: str, name: str, *options: str) -> Path:
        """Clone into a directory of that name, and return it."""
        self("clone", "--quiet", *options, url, name)
        return self.home / name

    def commit(self, clone: Path, files: dict[str, str | bytes], message: str = "Change") -> str:
        """Write files, commit them, and return the commit."""
        for name, content in files.items():
            place = clone / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        self("add", "--all", cwd=clone)
        self("commit", "--quiet", "--message", message, cwd=clone)
        return self.head(clone)

    def head(self, clone: Path) -> str:
        """Return the newest commit of a clone."""
        return self("rev-parse", "HEAD", cwd=clone).strip()


def git_url(api: str, ref: str, *, user: str = "", secret: str = "") -> str:
    """Return the address of a repository, with credentials in it."""
    parts = urlsplit(api)
    who = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user or secret else ""
    return f"{parts.scheme}://{who}{parts.netloc}/git/{ref}.git"
