"""
`client.manageApi`: what programs for the old client use of the generated one below it.

Answers are dictionaries, not models. What is not in the table is in the new client:
`client.algorium`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from algorium._messages import segment
from algorium.compat.errors import raiseAlgoApiError

if TYPE_CHECKING:
    from algorium.compat.client import Client

_OPERATIONS: Final = {
    "commit_log_for_repository": ("GET", "/v1/algorithms/{}/{}/log"),
    "compile_algorithm": ("POST", "/v1/algorithms/{}/{}/compile"),
    "delete_algorithm": ("DELETE", "/v1/algorithms/{}/{}"),
    "delete_organization": ("DELETE", "/v1/organizations/{}"),
    "delete_user": ("DELETE", "/v1/users/{}"),
    "get_algorithm": ("GET", "/v1/algorithms/{}/{}"),
    "get_algorithm_build_by_id": ("GET", "/v1/algorithms/{}/{}/builds/{}"),
    "get_algorithm_build_logs": ("GET", "/v1/algorithms/{}/{}/builds/{}/logs"),
    "get_algorithm_builds": ("GET", "/v1/algorithms/{}/{}/builds"),
    "get_algorithm_hash_version": ("GET", "/v1/algorithms/{}/{}/versions/{}"),
    "get_algorithm_scm_connection_status": ("GET", "/v1/algorithms/{}/{}/scm/status"),
    "get_algorithm_versions": ("GET", "/v1/algorithms/{}/{}/versions"),
    "get_all_organization_types": ("GET", "/v1/organization/types"),
    "get_organization": ("GET", "/v1/organizations/{}"),
    "get_user": ("GET", "/v1/users/{}"),
}


class ManageApi:
    """Operations by the names of the generated client."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _OPERATIONS:
            raise AttributeError(
                f"manageApi has no {name} here; client.algorium is the new client, which can do it"
            )
        method, path = _OPERATIONS[name]

        def operation(*names: str, **query: Any) -> Any:
            if len(names) != path.count("{}"):
                raise TypeError(f"{name} takes {path.count('{}')} names, not {len(names)}")
            url = path.format(*map(segment, names))
            answer = self._client.ask(method, url, query)
            if not answer.ok:
                raise raiseAlgoApiError(answer)
            return answer.json() if answer.content else None

        return operation
