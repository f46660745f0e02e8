"""The old client: handles of algorithms, files and directories, and the management calls."""

import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from algorium import _manifest
from algorium._client import Algorium
from algorium._errors import ConfigurationError
from algorium._messages import Body, Request, Response
from algorium._retry import Flow
from algorium._values import encode_input, to_json
from algorium.compat.algorithm import Algorithm
from algorium.compat.answers import Answer, RefusedDownload
from algorium.compat.datadirectory import (
    AdvancedDataDirectory,
    DataDirectory,
    LocalDataDirectory,
)
from algorium.compat.datafile import AdvancedDataFile, DataFile, LocalDataFile
from algorium.compat.errors import raiseAlgoApiError
from algorium.compat.insights import Insights
from algorium.compat.manage import ManageApi
from algorium.compat.paths import as_path
from algorium.compat.util import md5_for_file

_WORK_S: Final = 600.0
"""Compiling and publishing may take this long; calls have their own limit."""


class Client:
    """
    A client, see `algorium.compat.client`.

    Attributes:
        apiKey: The key that it was made with or has found in the environment, or None.
        apiAddress: Where the server is.
        bearerToken: In place of a key, or None.
        algorium: The new client below it, for all that this one has not.
    """

    def __init__(
        self,
        apiKey: str | None = None,  # noqa: N803 - the old client's
        apiAddress: str | None = None,  # noqa: N803
        caCert: str | bool | None = None,  # noqa: N803
        bearerToken: str | None = None,  # noqa: N803
    ) -> None:
        if caCert is False and (apiAddress or "").startswith("https"):
            raise ConfigurationError(
                "Certificates are always checked: ca_cert=False is refused.",
                hint="Name the file of your own certificate authority with ca_cert.",
            )
        self.apiKey_given = apiKey
        self.apiKey = apiKey or os.environ.get("ALGORITHMIA_API_KEY")
        self.bearerToken = bearerToken or os.environ.get("ALGORITHMIA_BEARER_TOKEN")
        self.ca_cert = caCert if isinstance(caCert, str) else None
        self.algorium = Algorium(
            _without_scheme(apiKey),
            apiAddress or _default_address(),
            bearer_token=bearerToken,
            ca_cert=self.ca_cert,
        )
        self.apiAddress = self.algorium.api_address
        self.manageApi = ManageApi(self)

    def algo(self, algoRef: str) -> Algorithm:  # noqa: N803 - the old client's
        """Return an algorithm to call."""
        return Algorithm(self, algoRef)

    def username(self) -> str:
        """Return to whom the key belongs."""
        return next(DataDirectory(self, "").dirs()).path

    def file(self, dataUrl: str, cleanup: bool = False) -> DataFile | LocalDataFile:  # noqa: N803
        """Return a file by its data URI, or a local one by its `file://` URI."""
        if dataUrl.startswith("file://"):
            return LocalDataFile(self, dataUrl)
        return AdvancedDataFile(self, dataUrl, cleanup)

    def dir(self, dataUrl: str) -> DataDirectory | LocalDataDirectory:  # noqa: N803
        """Return a directory by its data URI, or a local one by its `file://` URI."""
        if dataUrl.startswith("file://"):
            return LocalDataDirectory(self, dataUrl)
        return AdvancedDataDirectory(self, dataUrl)

    def scms(self) -> Any:
        """Return the hosts of source."""
        return self.getJsonHelper("/v1/scms")

    def create_user(self, requestString: Mapping[str, Any]) -> Any:  # noqa: N803
        """Create a user; for administrators."""
        return self.postJsonHelper("/v1/users", dict(requestString))

    def get_org_types(self) -> Any:
        """Return the types of organizations."""
        return self.getHelper("/v1/organization/types").json()

    def create_org(self, requestString: Mapping[str, Any]) -> Any:  # noqa: N803
        """Create an organization; `type_id` may be the name of a type. For administrators."""
        return self.postJsonHelper("/v1/organizations", self._with_type_id(requestString))

    def get_org(self, org_name: str) -> Any:
        """Return an organization, or the error as the server tells it."""
        return self.getHelper(f"/v1/organizations/{org_name}").json()

    def edit_org(self, org_name: str, requestString: Mapping[str, Any]) -> Any:  # noqa: N803
        """Change an organization; `type_id` may be the name of a type."""
        body = to_json(self._with_type_id(requestString))
        return self.putHelper(f"/v1/organizations/{org_name}", body)

    def invite_to_org(self, orgname: str, username: str) -> Any:
        """Make a user a member."""
        return self.putHelper(f"/v1/organizations/{orgname}/members/{username}", b"")

    def get_template(self, envid: str, dest: str, save_tar: bool = False) -> Any:
        """Unpack the project that algorithms of an environment begin with."""
        url = f"/v1/algorithm-environments/edge/environment-specifications/{envid}/template"
        answer = self.getHelper(url)
        if not answer.ok:
            return answer.json()
        place = Path(dest)
        place.mkdir(parents=True, exist_ok=True)
        packed = place / "template.tar.gz"
        packed.write_bytes(answer.content)
        with tarfile.open(packed, "r:gz") as archive:
            archive.extractall(place, filter="data")
        if not save_tar:
            packed.unlink()
        return answer

    def get_environment(self, language: str) -> Any:
        """Return the environments of a language."""
        url = f"/v1/algorithm-environments/edge/languages/{language}/environments"
        return self.getHelper(url).json()

    def get_supported_languages(self) -> Any:
        """Return the languages."""
        return self.getHelper("/v1/algorithm-environments/edge/languages").json()

    def get_secret_providers(self) -> Any:
        """Return what keeps secrets."""
        return self.getJsonHelper("/v1/secret-provider")

    def get_organization_errors(self, org_name: str) -> Any:
        """Return the failed calls of an organization."""
        return self.getHelper(f"/v1/organizations/{org_name}/errors").json()

    def get_user_errors(self, user_id: str) -> Any:
        """Return the failed calls of a user."""
        return self.getHelper(f"/v1/users/{user_id}/errors").json()

    def get_algorithm_errors(self, algorithm_id: str) -> Any:
        """Return the failed calls of an algorithm."""
        return self.getJsonHelper(f"/v1/algorithms/{algorithm_id}/errors")

    def report_insights(self, insights: dict[str, Any]) -> Insights:
        """Report numbers and texts about an algorithm, from inside of it."""
        return Insights(insights, self)

    def freeze(self, manifest_path: str, manifest_output_dir: str = ".") -> None:
        """Write the freeze file of a model manifest: the MD5 of each file it names."""
        manifest = Path(manifest_path)
        if not manifest.exists():
            told = f"Expected to find a {_manifest.MANIFEST} file, there is no {manifest}"
            sys.stdout.write(f"{told}\n")
            return
        wanted = _manifest.parse(manifest.read_bytes())
        checksums = {}
        with tempfile.TemporaryDirectory() as scratch:
            for number, uri in enumerate(dict.fromkeys(_manifest.sources(wanted))):
                local = Path(scratch) / str(number)
                self.algorium.file(uri).get_file(local)
                checksums[uri] = md5_for_file(local)
        made = _manifest.frozen(wanted, checksums, at=str(time.time()))
        target = Path(manifest_output_dir) / (_manifest.MANIFEST + _manifest.FREEZE_SUFFIX)
        target.write_text(json.dumps(made), "utf-8")

    # The old client's own means, which programs use for what it has no method for.

    def postJsonHelper(  # noqa: N802 - the old client's, like the rest
        self,
        url: str,
        input_object: Any,
        parse_response_as_json: bool = True,
        retry: bool = False,
        **query_parameters: Any,
    ) -> Any:
        """
        Send a value with POST, and return the answer's body.

        Raises:
            AlgorithmException: It is refused, or a call has failed.
        """
        content_type, body = encode_input(input_object)
        work_s = _number(query_parameters.get("timeout"), _WORK_S)
        answer = self.ask(
            "POST", url, query_parameters, content_type=content_type, body=body, work_s=work_s
        )
        if not 200 <= answer.status_code <= 299:
            if retry:
                return self.postJsonHelper(
                    url, input_object, parse_response_as_json, **query_parameters
                )
            raise raiseAlgoApiError(answer)
        return _without_error(answer.json()) if parse_response_as_json else answer

    def getHelper(self, url: str, **query_parameters: Any) -> Answer:  # noqa: N802
        """Return the answer to GET, whatever it is."""
        return self.ask("GET", url, query_parameters)

    def getJsonHelper(self, url: str, **query_parameters: Any) -> Any:  # noqa: N802
        """
        Return the body of the answer to GET.

        Raises:
            AlgorithmException: It is refused.
        """
        answer = self.ask("GET", url, query_parameters)
        if answer.ok:
            return _without_error(answer.json())
        try:
            raise raiseAlgoApiError(answer.json())
        except ValueError:
            raise raiseAlgoApiError(answer) from None

    def getStreamHelper(self, url: str, **query_parameters: Any) -> Answer:  # noqa: N802
        """Return the answer to GET; unlike the old client, all of it is in memory."""
        return self.getHelper(url, **query_parameters)

    def patchHelper(self, url: str, params: Any) -> Answer:  # noqa: N802
        """Return the answer to PATCH, whatever it is."""
        return self.ask(
            "PATCH", url, content_type="application/json", body=to_json(params).encode()
        )

    def headHelper(self, url: str) -> Answer:  # noqa: N802
        """Return the answer to HEAD, whatever it is."""
        return self.ask("HEAD", url)

    def putHelper(self, url: str, data: Any) -> Any:  # noqa: N802
        """
        Send something with PUT: text and bytes as they are, a dictionary as JSON.

        Returns:
            What the body of the answer says; the answer, if it has none.

        Raises:
            AlgorithmException: It is refused.
        """
        content_type = ""
        if isinstance(data, dict | list):
            data = to_json(data)
        if isinstance(data, str):
            data = data.encode()
        if isinstance(data, bytes | bytearray):
            data = bytes(data)
            content_type = "application/json" if _is_json(data) else ""
        answer = self.ask("PUT", url, content_type=content_type, body=data, work_s=_WORK_S)
        if not answer.ok:
            raise raiseAlgoApiError(answer)
        return _without_error(answer.json()) if answer.content else answer

    def deleteHelper(self, url: str) -> Any:  # noqa: N802
        """Return the body of the answer to DELETE, or the answer, if it has none."""
        answer = self.ask("DELETE", url)
        return answer.json() if answer.content else answer

    def convert_type_id(self, type: str) -> tuple[str, str]:  # noqa: A002 - the old client's
        """Return the id of a type of organizations, and what is wrong with its name."""
        found = {each["name"]: each["id"] for each in self.get_org_types()}
        return (found[type], "") if type in found else ("", "invalid type_id")

    # Ours.

    def ask(
        self,
        method: str,
        url: str,
        query: Mapping[str, Any] | None = None,
        *,
        content_type: str = "",
        body: Body = b"",
        work_s: float = 0.0,
    ) -> Answer:
        """Send a request to a path of the server, and return the answer, whatever it is."""
        request = _request(
            method, url, query or {}, content_type=content_type, body=body, work_s=work_s
        )
        return Answer(self.algorium._transport.run(_exchange(request)))

    def pieces(self, url: str) -> Iterator[bytes]:
        """
        Download something piece by piece.

        Raises:
            RefusedDownload: It is refused.
        """
        request = _request("GET", url, {}, is_streamed=True)
        response = self.algorium._transport.run(_exchange(request))
        if response.stream is None:
            raise RefusedDownload(Answer(response))
        try:
            yield from response.stream
        finally:
            response.stream.close()

    def _with_type_id(self, described: Mapping[str, Any]) -> dict[str, Any]:
        body = dict(described)
        if wanted := body.get("type_id"):
            type_id, error = self.convert_type_id(wanted)
            # An id stays one; what is neither, the server refuses, and says so.
            body["type_id"] = wanted if error else type_id
        return body


def _exchange(request: Request) -> Flow[Response]:
    return (yield request)


def _request(
    method: str,
    url: str,
    query: Mapping[str, Any],
    *,
    content_type: str = "",
    body: Body = b"",
    work_s: float = 0.0,
    is_streamed: bool = False,
) -> Request:
    path, asked = as_path(url)
    told = {name: value for name, value in query.items() if value is not None}
    spelt = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in told.items()
    }
    return Request(
        method=method,
        path=path,
        query=(*asked, *spelt.items()),
        headers={"Content-Type": content_type} if content_type else {},
        body=body,
        work_s=work_s,
        is_streamed=is_streamed,
    )


def _without_error(body: Any) -> Any:
    if isinstance(body, dict) and "error" in body:
        raise raiseAlgoApiError(body)
    return body


def _without_scheme(key: str | None) -> str | None:
    return key.removeprefix("Simple ") if key is not None else None


def _default_address() -> str | None:
    address: str | None = getattr(sys.modules["algorium.compat"], "apiAddress", None)
    return address


def _number(value: Any, otherwise: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
