"""The client for web pages, as a page would use it, in an engine that pages run in."""

import json
import shutil
import subprocess

import httpx2
import pytest
from running import RunningServer

PAGE = """
const [address, script, key, name, input] = JSON.parse(process.argv[1]);
// What a browser has of this, and Node.js has not.
global.document = { currentScript: { src: address + "/v1/clients/js/algorithmia-0.2.1.js" } };
(0, eval)(script);
const asked = Algorithmia.client(key).algo(name).pipe(input);
asked.then(function (output) {
  return Algorithmia.query(name, key, input, function (error, result) {
    console.log(JSON.stringify([output, error, result]));
  });
});
"""


@pytest.fixture(scope="module")
def web_key(server: RunningServer) -> str:
    answer = httpx2.post(
        f"{server.api}/v1/admin/users/admin/keys",
        headers={"Authorization": f"Simple {server.credentials['admin_api_key']}"},
        json={
            "api_key": "key-of-a-page-for-its-visitors",
            "permissions": {"algo_acl": ["algo://demo/*"], "allow_web_algo": True},
        },
        timeout=60,
    )
    assert answer.is_success, answer.text
    return "key-of-a-page-for-its-visitors"


def on_a_page(server: RunningServer, key: str, name: str, value: object) -> list[object]:
    if shutil.which("node") is None:
        pytest.skip("node is not installed: apt-get install nodejs")
    script = httpx2.get(f"{server.api}/v1/clients/js/algorithmia-0.2.1.js", timeout=60).text
    argument = json.dumps([server.api, script, key, name, value])
    done = subprocess.run(
        ["node", "-e", PAGE, argument], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_a_page_calls_an_algorithm(server: RunningServer, web_key: str) -> None:
    output, error, result = on_a_page(server, web_key, "algo://demo/Hello", "HAL 9000")

    assert isinstance(output, dict)
    assert output["result"] == "Hello HAL 9000"
    assert output["metadata"]["content_type"] in {"text", "json"}
    assert (error, result) == (None, "Hello HAL 9000")


def test_an_error_is_an_answer(server: RunningServer, web_key: str) -> None:
    output, error, result = on_a_page(server, web_key, "demo/Missing", "HAL 9000")

    assert isinstance(output, dict)
    assert output["error"]["message"] == error
    assert "not found" in str(error)
    assert result is None
