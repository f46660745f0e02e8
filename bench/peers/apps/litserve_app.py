"""LitServe with two workers."""

import sys
from typing import Any

import litserve
from hello import hello


class Hello(litserve.LitAPI):
    """Greets."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request):  # an annotation would become part of the API
        """Take the input out of the body."""
        return request["input"]

    def predict(self, x: Any) -> str:
        """Greet, in a worker process."""
        return hello(x)

    def encode_response(self, output: str) -> dict[str, str]:
        """Wrap the result."""
        return {"result": output}


if __name__ == "__main__":
    server = litserve.LitServer(Hello(api_path="/hello"), accelerator="cpu", workers_per_device=2)
    server.run(port=int(sys.argv[1]), log_level="error", generate_client_file=False)
