"""
Requests that nobody would send, made from the server's own document, which says how it answers.

For every operation of the document, and for everybody in `Cast`, Hypothesis makes requests: some as
described, some against it, half of them about accounts that exist. What must hold of each answer:

- no 5xx;
- a status and a body as the document says; every operation says so for errors as well;
- of an error, JSON and `X-Error-Message`.

The suite tries a few for each operation. `python tests/fuzz.py --cases 20000` tries many, on a
server of its own in a new home, and prints what it has found.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from running import RunningServer
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: Final = [status_code_conformance, content_type_conformance, response_schema_conformance]
USER: Final = "carol"
ORGANIZATION: Final = "guild"
KNOWN: Final = {
    "username": [USER, "dave"],
    "account": [USER, "dave", ORGANIZATION],
    "user": [USER, "dave"],
    "owner": [USER, "dave", ORGANIZATION],
    "org": [ORGANIZATION],
    "name": ["Tool", "basic"],
    "algo": ["Tool"],
    "scm_id": ["internal"],
    "lang": ["python3"],
    "path": [USER, f"{USER}/box", f"{USER}/box/file", "dave"],
    "connector": ["data"],
}
"""
Values of path parameters that stand for something: never the administrator who fuzzes, who in turn
asks for nothing about the user who fuzzes; disabled, that one would get nowhere.
"""
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
FEW: Final = [
    ("administrator", GenerationMode.POSITIVE),
    ("management", GenerationMode.POSITIVE),
    ("administrator", GenerationMode.NEGATIVE),
    ("nobody", GenerationMode.POSITIVE),
]
"""One of them in turn for each operation, where time is short."""
ENDING: Final = ("/v1/session/oidc", "/logs/stream")
"""Leave the server, or do not end: not followed here."""


@dataclass
class Found:
    """What a run has seen."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def fail(self, label: str, kind: str, what: str) -> None:
        self.failures.setdefault((label, kind), what[:1500])


@dataclass(frozen=True)
class Cast:
    """Who asks: the values of `Authorization`, by name."""

    keys: dict[str, str]


def people(running: RunningServer) -> Cast:
    """Create those whom requests are about, and return those who ask."""
    admin = {"Authorization": f"Simple {running.credentials['admin_api_key']}"}
    with httpx2.Client(base_url=running.api, headers=admin, timeout=60) as http:
        for name in (USER, "dave"):
            if http.get(f"/v1/users/{name}").status_code == 404:
                body = {"username": name, "email": f"{name}@example.com"}
                assert http.post("/v1/users", json=body).status_code == 200
        body = {
            "org_name": ORGANIZATION,
            "org_label": "Guild",
            "org_contact_name": "Carol",
            "org_email": "guild@example.com",
        }
        if http.get(f"/v1/organizations/{ORGANIZATION}").status_code == 404:
            assert http.post("/v1/organizations", json=body).status_code == 200
            path = f"/v1/organizations/{ORGANIZATION}/members/{USER}"
            assert http.put(path, json={"role": "owner"}).status_code == 201
        key = http.post(
            f"/v1/admin/users/{USER}/keys",
            json={
                "key_type": "ManagementKey",
                "key_label": "fuzz",
                "api_key": f"sim{'f' * 25}",
                "permissions": {
                    "algo_acl": ["algo://*"],
                    "allow_data": True,
                    "allow_data_write": True,
                    "allow_algo_management": True,
                },
            },
        )
        assert key.status_code == 200, key.text
        management = {"Authorization": f"Simple {key.json()['api_key']}"}
        tool = {"name": "Tool", "details": {"label": "t"}, "settings": {"language": "python3"}}
        made = http.post(f"/v1/algorithms/{USER}", json=tool, headers=management)
        assert made.status_code in {200, 201, 409}, made.text
        box = http.post(f"/v1/data/{USER}", json={"name": "box"}, headers=management)
        assert box.status_code in {200, 409}, box.text
        file = http.put(f"/v1/data/{USER}/box/file", content=b"x", headers=management)
        assert file.status_code == 200, file.text
    return Cast(
        keys={
            "nobody": "",
            "stranger": "Simple simNobodyKnowsThisKeyAtAll00",
            "management": management["Authorization"],
            "administrator": admin["Authorization"],
        }
    )


class Fuzzer:
    """
    Sends requests to a server.

    Args:
        running: The server.
        cases: How many requests there are to be at least, over all operations and people; 0 for
            one of each operation.
        start: Seed; the same makes the same requests.
    """

    def __init__(self, running: RunningServer, *, cases: int, start: int = 0) -> None:
        self.running = running
        self.found = Found()
        self._start = start
        document = httpx2.get(f"{running.api}/v1/openapispec").json()
        schema = schemathesis.openapi.from_dict(document)
        self.operations = [
            one.ok()
            for one in schema.get_all_operations()
            if not one.ok().path.endswith(ENDING) and not one.ok().path.startswith(ENDING)
        ]
        # What others are about goes last.
        self.operations.sort(key=lambda one: one.method.upper() == "DELETE")
        self._cast = people(running)
        self._everybody = [(who, mode) for who in self._cast.keys for mode in MODES]
        self._is_short = not cases
        self._each = max(1, -(-cases // (len(self.operations) * len(self._everybody))))

    def run(self) -> Found:
        """Send them all."""
        with requests.Session() as session:
            session.trust_env = False
            for number, operation in enumerate(self.operations):
                few = [FEW[number % len(FEW)]]
                for who, mode in few if self._is_short else self._everybody:
                    self._try(session, operation, mode, (who, self._cast.keys[who]), number)
        return self.found

    def _try(
        self,
        session: requests.Session,
        operation: Any,
        mode: GenerationMode,
        asker: tuple[str, str],
        number: int,
    ) -> None:
        who, key = asker
        label = f"{operation.label} ({who})"
        try:
            cases = operation.as_strategy(generation_mode=mode)
        except Exception as error:  # said, and the rest goes on
            self.found.fail(label, "not made", repr(error))
            return

        @seed(self._start * 10_000 + number)
        @settings(
            max_examples=self._each,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, data=st.data())
        def attempt(case: Any, data: st.DataObject) -> None:
            for name in case.path_parameters or {}:
                if name in KNOWN and data.draw(st.booleans()):
                    known = [
                        value for value in KNOWN[name] if value != USER or who != "administrator"
                    ]
                    case.path_parameters[name] = data.draw(st.sampled_from(known))
            case.headers.pop("Authorization", None)
            self._send(session, case, label, key)

        # Nothing can be against the description of an operation that takes nothing.
        with contextlib.suppress(Unsatisfiable):
            attempt()

    def _send(self, session: requests.Session, case: Any, label: str, key: str) -> None:
        headers = {"Authorization": key} if key else {}
        try:
            answer = case.call(
                base_url=self.running.api,
                session=session,
                headers=headers,
                timeout=60,
                allow_redirects=False,
            )
        except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
            return  # no HTTP client can send this
        except requests.exceptions.RequestException as error:
            self.found.fail(label, "no answer", f"{error!r} {case!r}")
            return
        self.found.cases += 1
        self.found.operations.add(case.operation.label)
        self.found.statuses[answer.status_code] += 1
        said = f"{answer.status_code} {answer.content[:300]!r}\n  {case!r}"
        if answer.status_code >= 500:
            self.found.fail(label, "5xx", said)
        if answer.status_code >= 400:
            self._check_error(answer, label, said)
        try:
            case.validate_response(answer, checks=CHECKS, headers=headers)
        except (FailureGroup, Failure) as failure:
            failures = getattr(failure, "exceptions", [failure])
            for one in failures:
                self.found.fail(label, type(one).__name__, f"{one}\n{said}")

    def _check_error(self, answer: Any, label: str, said: str) -> None:
        try:
            body = json.loads(answer.content) if answer.content else None
        except ValueError:
            body = None
        is_bare = answer.request.method == "HEAD"
        if not is_bare and (not isinstance(body, dict) or "error" not in body):
            self.found.fail(label, "no error in JSON", said)
        if "x-error-message" not in answer.headers:
            self.found.fail(label, "no X-Error-Message", said)


def report(found: Found) -> Iterator[str]:
    """Yield what was found, as lines."""
    yield f"{found.cases} cases, {len(found.operations)} operations"
    yield "statuses: " + ", ".join(f"{one}: {n}" for one, n in sorted(found.statuses.items()))
    yield f"{len(found.failures)} failures"
    for (label, kind), what in found.failures.items():
        yield f"--- {label}: {kind}\n{what}"


def main() -> int:
    """Fuzz a server of our own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place, RunningServer(Path(place) / "home") as running:
        found = Fuzzer(running, cases=wanted.cases, start=wanted.seed).run()
        bugs = [line for line in running.lines if "internal error" in line or "Traceback" in line]
    for line in report(found):
        print(line)
    print(f"{time.monotonic() - began:.0f} s; {len(bugs)} errors in the log")
    return 1 if found.failures or bugs else 0


if __name__ == "__main__":
    sys.exit(main())
