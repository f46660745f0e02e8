"""What the server says about itself on standard output: lines for people, `ready` for programs."""

import sys

from algorium_server.engine.probe import HostReport
from algorium_server.engine.sandbox import Level
from algorium_server.home import write_endpoint
from algorium_server.services.people.accounts import AdministratorCredentials
from algorium_server.settings import Settings


def announce(
    settings: Settings,
    api: str,
    *,
    sandbox: str,
    credentials: AdministratorCredentials | None,
    has_hello: bool,
) -> None:
    """
    Say where to go, to programs and to people; the `ready` line is a contract.

    Args:
        settings: The server's.
        api: Base address.
        sandbox: From `sandbox_line`.
        credentials: On the first start.
        has_hello: The demo algorithm can be called.
    """
    write_endpoint(settings.home, api)
    say(f"sandbox  {sandbox}")
    say(f"home     {settings.home}")
    say(f"api      {api}")
    if credentials is not None:
        say(f"user     {credentials.username}")
        say(f"key      {credentials.api_key}")
        say(f"admin    {credentials.admin_api_key}")
        say("These keys are shown once; they are kept in credentials.json in the home directory.")
    if has_hello:
        shown = credentials.api_key if credentials else "YOUR_API_KEY"
        say("Try:")
        say(
            f"  curl -X POST -d '\"HAL 9000\"' -H 'Content-Type: application/json' "
            f"-H 'Authorization: Simple {shown}' {api}/v1/algo/demo/Hello"
        )
    say(f"ready {api}")


def sandbox_line(report: HostReport) -> str:
    """Return what the host's sandbox gives, in a line."""
    if report.level is None:
        return f"none: algorithms cannot run on this host. {report.remedy}"
    if report.level is Level.NONE:
        return "OFF: algorithms can do whatever this server can (--unsafe-no-sandbox)"
    line = f"{report.level.value} ({report.mechanism})"
    return line if report.level is Level.FULL else f"{line}; see `algorium doctor`"


def say(line: str) -> None:
    """Write a line to standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
