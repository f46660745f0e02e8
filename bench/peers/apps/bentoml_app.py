"""BentoML with two workers: a call is a task of a worker process, as its services are made."""

import bentoml
from hello import hello


@bentoml.service(workers=2, http={"cors": {"enabled": False}}, metrics={"enabled": False})
class Hello:
    """Greets."""

    @bentoml.api
    async def hello(self, value: str) -> str:
        """Greet."""
        return hello(value)
