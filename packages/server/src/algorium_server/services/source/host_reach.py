"""
Where hosts of source may be.

Administrators say where a host is, and from then on accounts have the server send requests and run
git there, from inside. So a host has public addresses, or is a place that the operator vouches for.
It is looked at each time: a name can mean another address by then.
"""

from algorium_server.domain.errors import InvalidInput, ScmUnreachable
from algorium_server.domain.scm_names import endpoint_of
from algorium_server.services.files.reaching import Reach


class HostReach:
    """
    Looks whether addresses of hosts may be reached.

    Args:
        reach: Decides.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def check(self, url: str) -> None:
        """
        Do nothing if an address of a host or a repository may be reached.

        Raises:
            ScmUnreachable: It may not, or its name means nothing.
        """
        try:
            await self._reach.checked(endpoint_of(url))
        except InvalidInput as error:
            raise ScmUnreachable(error.message, hint=error.hint) from error
