"""Starlette in front of two worker processes: the least that isolates calls from the server."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor

import uvicorn
from hello import hello
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

pool: ProcessPoolExecutor


async def answer(request: Request) -> JSONResponse:
    """Greet, in one of the workers."""
    value = await request.json()
    result = await asyncio.get_running_loop().run_in_executor(pool, hello, value)
    return JSONResponse({"result": result})


@contextlib.asynccontextmanager
async def life(_: Starlette) -> AsyncIterator[None]:
    """Keep the pool as long as the server."""
    global pool
    with ProcessPoolExecutor(2) as pool:
        yield


app = Starlette(routes=[Route("/", answer, methods=["POST"])], lifespan=life)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="error")
