"""Algorithms, to call and to make."""

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Self

from algorium.compat.algo_response import AlgoResponse
from algorium.compat.async_response import AsyncResponse
from algorium.compat.errors import AlgorithmException, ApiError

if TYPE_CHECKING:
    from algorium.compat.client import Client

_REF: Final = re.compile(r"(?:algo://|/|)(\w+/.+)")
_TIMEOUT_S: Final = 300


class OutputType(Enum):
    """How the answer to a call comes."""

    default = 1
    raw = 2
    void = 3


class Algorithm:
    """
    An algorithm.

    Unlike handles of the new client it remembers options: `set_options` changes it.
    """

    def __init__(self, client: "Client", algoRef: str) -> None:  # noqa: N803 - the old client's
        found = _REF.match(algoRef)
        if found is None:
            raise ValueError(f"Invalid algorithm URI: {algoRef}")
        self.client = client
        self.path = found[1]
        parts = self.path.split("/")
        self.username, self.algoname = parts[0], parts[1]
        if len(parts) > 2:
            self.version = parts[2]
        self.url = f"/v1/algo/{self.path}"
        self.query_parameters: dict[str, Any] = {}
        self.output_type = OutputType.default

    def set_options(
        self,
        timeout: float = _TIMEOUT_S,
        stdout: bool = False,
        output: OutputType = OutputType.default,
        **query_parameters: Any,
    ) -> Self:
        """Change how it is called from now on, and return it."""
        self.query_parameters = {"timeout": timeout, "stdout": stdout, **query_parameters}
        self.output_type = output
        return self

    def pipe(self, input1: Any) -> Any:
        """
        Call it and wait for its result.

        Returns:
            An `AlgoResponse`; with the output `raw` the result as text, with `void` an
            `AsyncResponse`.

        Raises:
            AlgorithmException: It failed, or the platform refuses the call.
        """
        if self.output_type is OutputType.raw:
            return self._ask(input1, output="raw", parse_response_as_json=False).text
        if self.output_type is OutputType.void:
            return AsyncResponse(self._ask(input1, output="void"))
        return AlgoResponse.create_algo_response(self._ask(input1))

    def get_algorithm_id(self) -> str:
        """Return its id."""
        found: str = self.client.getJsonHelper(self._management())["id"]
        return found

    def get_secrets(self) -> Any:
        """Return its secrets, without their values."""
        return self.client.getJsonHelper(f"/v1/algorithms/{self.get_algorithm_id()}/secrets")

    def set_secret(
        self,
        short_name: str,
        secret_key: str,
        secret_value: str,
        description: str | None = None,
    ) -> Any:
        """Add an environment variable of its own."""
        algorithm_id = self.get_algorithm_id()
        body = {
            "owner_type": "algorithm",
            "owner_id": algorithm_id,
            "short_name": short_name,
            "provider_id": self.client.get_secret_providers()[0]["id"],
            "secret_key": secret_key,
            "secret_value": secret_value,
            "description": description or " ",
        }
        return self.client.postJsonHelper(f"/v1/algorithms/{algorithm_id}/secrets", body)

    def create(
        self,
        details: Any,
        settings: Any,
        version_info: Any = None,
        source: Any = None,
        scmsCredentials: Any = None,  # noqa: N803 - the old client's
    ) -> Any:
        """Create it."""
        told = {
            "version_info": version_info,
            "source": source,
            "scmsCredentials": scmsCredentials,
        }
        body = {"name": self.algoname, "details": details, "settings": settings}
        body |= {name: value for name, value in told.items() if value}
        return self.client.postJsonHelper(f"/v1/algorithms/{self.username}", body)

    def update(
        self,
        details: Any = None,
        settings: Any = None,
        version_info: Any = None,
        source: Any = None,
        scmsCredentials: Any = None,  # noqa: N803 - the old client's
    ) -> Any:
        """Change it; what is left out stays. The old client lost the values, this one does not."""
        body = _changes(details, settings, version_info, source, scmsCredentials)
        return self.client.putHelper(self._management(), body)

    def publish(
        self,
        details: Any = None,
        settings: Any = None,
        version_info: Any = None,
        source: Any = None,
        scmsCredentials: Any = None,  # noqa: N803 - the old client's
    ) -> Any:
        """Publish what was built last."""
        body = _changes(details, settings, version_info, source, scmsCredentials)
        return self.client.postJsonHelper(self._management("versions"), body, retry=True)

    def compile(self) -> Any:
        """Build it."""
        return self.client.postJsonHelper(self._management("compile"), {}, retry=True)

    def get_builds(self, limit: int = 56, marker: str | None = None) -> Any:
        """Return a page of its builds."""
        return self.client.getJsonHelper(self._management("builds"), limit=limit, marker=marker)

    def get_build(self, build_id: str) -> Any:
        """Return a build."""
        return self.client.getJsonHelper(self._management("builds", build_id))

    def get_build_logs(self, build_id: str) -> Any:
        """Return the log of a build."""
        return self.client.getJsonHelper(self._management("builds", build_id, "logs"))

    def get_scm_status(self) -> Any:
        """Return whether the server reaches its source."""
        return self.client.getJsonHelper(self._management("scm", "status"))

    def info(self, algo_hash: str | None = None) -> Any:
        """Return one of its versions, or all of them."""
        rest = ("versions", algo_hash) if algo_hash else ("versions",)
        return self.client.getJsonHelper(self._management(*rest))

    def exists(self) -> bool:
        """
        Return whether there is one of this name.

        Raises:
            AlgorithmException: It cannot be told.
        """
        answer = self.client.getHelper(self._management())
        if answer.status_code == 403:
            raise ApiError("unable to check exists on algorithms you don't own.")
        if not answer.ok and answer.status_code != 404:
            raise AlgorithmException(answer.error_message)
        return answer.ok

    def versions(
        self,
        limit: int | None = None,
        marker: str | None = None,
        published: bool | None = None,
        callable: bool | None = None,  # noqa: A002 - the old client's
    ) -> Any:
        """Return a page of its versions."""
        wanted = {
            "limit": limit,
            "marker": marker,
            "published": published,
            "callable": callable,
        }
        return self.client.getJsonHelper(
            self._management("versions"), **{name: told for name, told in wanted.items() if told}
        )

    def _ask(self, value: Any, *, output: str = "", parse_response_as_json: bool = True) -> Any:
        query = {"timeout": _TIMEOUT_S, **self.query_parameters}
        if output:
            query["output"] = output
        return self.client.postJsonHelper(self.url, value, parse_response_as_json, **query)

    def _management(self, *rest: str) -> str:
        return "/".join(("/v1/algorithms", self.username, self.algoname, *rest))


def _changes(*told: Any) -> dict[str, Any]:
    names = ("details", "settings", "version_info", "source", "scmsCredentials")
    return {name: value or {} for name, value in zip(names, told, strict=True)}
