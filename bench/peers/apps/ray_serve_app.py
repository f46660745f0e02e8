"""Ray Serve with two replicas."""

from typing import Any

from hello import hello
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=2, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.1})
class Hello:
    """Greets."""

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Greet, in a replica."""
        return {"result": hello(await request.json())}


if __name__ == "__main__":
    import sys
    import time

    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Hello.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
