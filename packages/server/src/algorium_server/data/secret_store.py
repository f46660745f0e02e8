"""What a place outside must be able to do that keeps values of secrets."""

from typing import Protocol

from algorium_server.domain.secrets import Place


class SecretStore(Protocol):
    """
    A place for values, one for each `Place`.

    Every method raises `SourceFailed` if the place refuses or does not answer.
    """

    async def read(self, place: Place) -> str:
        """
        Return a value.

        Raises:
            PathNotFound: There is none.
        """

    async def write(self, place: Place, value: str) -> None:
        """Keep a value instead of what was there."""

    async def remove(self, place: Place) -> None:
        """Forget a value with all that it was before; none is fine."""

    def address_of(self, place: Place) -> str:
        """Return where a value is, for people who put it there themselves."""

    async def close(self) -> None:
        """Close the connections once nobody uses them any more."""
