"""
A broker of Kafka, as far as somebody needs one who only sends: metadata, records, signing in.

One thread serves it on a free port of 127.0.0.1. It speaks the real protocol, with the formats of
the library; records are checked and read as a broker would. With a certificate it speaks TLS and
wants a name and a password.
"""

import asyncio
import json
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from aiokafka.protocol.admin import (
    ApiVersionResponse_v0,
    SaslAuthenticateRequest_v0,
    SaslAuthenticateResponse_v0,
    SaslHandShakeRequest_v1,
    SaslHandShakeResponse_v1,
)
from aiokafka.protocol.metadata import MetadataRequest_v1, MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceResponse_v3
from aiokafka.record.memory_records import MemoryRecords

PRODUCE, METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 0, 3, 17, 18, 36
_VERSIONS = (
    (PRODUCE, 3, 3),
    (METADATA, 0, 1),
    (SASL_HANDSHAKE, 1, 1),
    (API_VERSIONS, 0, 0),
    (SASL_AUTHENTICATE, 0, 0),
)
_UNSUPPORTED, _WRONG_PASSWORD, _NOT_LEADER = 33, 58, 6


class StandInKafka:
    """
    The broker; a context manager.

    Args:
        certificate: A file with a certificate and its key; without one it is open to all.
        login: Name and password that it wants, with a certificate.

    Attributes:
        port: Where it listens.
        received: What arrived, as topic and decoded JSON.
        is_refusing: It takes no records for now.
        asked: How often somebody wanted to hand over records.
    """

    def __init__(self, *, certificate: Path | None = None, login: tuple[str, str] = ("", "")):
        self.port = 0
        self.received: list[tuple[str, Any]] = []
        self.is_refusing = False
        self.asked = 0
        self._certificate = certificate
        self._login = login
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_up = threading.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(20)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    def wait_for(self, count: int, *, timeout_s: float = 60) -> list[Any]:
        """Wait until so many records have arrived, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, timeout_s), (
                f"{len(self.received)} of {count} records have arrived"
            )
            return [record for _, record in self.received]

    def wait_asked(self, count: int, *, timeout_s: float = 60) -> None:
        """Wait until records were offered so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked >= count, timeout_s)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        tls = None
        if self._certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self._certificate)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._stopping.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        is_in = self._certificate is None
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                kind, _version, number, length = struct.unpack_from(">hhih", request)
                body = request[10 + max(length, 0) :]
                if kind not in {API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE} and not is_in:
                    return
                if kind == SASL_AUTHENTICATE:
                    sent = SaslAuthenticateRequest_v0.decode(body).sasl_auth_bytes
                    is_in = tuple(sent.decode().split("\0")[1:]) == self._login
                    code = 0 if is_in else _WRONG_PASSWORD
                    answer = SaslAuthenticateResponse_v0(code, "" if is_in else "no", b"").encode()
                else:
                    answer = self._answer(kind, body)
                whole = struct.pack(">i", number) + answer
                writer.write(struct.pack(">i", len(whole)) + whole)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(Exception):
                await writer.wait_closed()

    def _answer(self, kind: int, body: bytes) -> bytes:
        match kind:
            case 18:
                return ApiVersionResponse_v0(0, list(_VERSIONS)).encode()
            case 3:
                topics = MetadataRequest_v1.decode(body).topics or []
                known = [
                    (0, topic, False, [(0, partition, 1, [1], [1]) for partition in (0, 1)])
                    for topic in topics
                ]
                brokers = [(1, "127.0.0.1", self.port, None)]
                return MetadataResponse_v1(brokers, 1, known).encode()
            case 17:
                wanted = SaslHandShakeRequest_v1.decode(body).mechanism
                code = 0 if wanted == "PLAIN" else _UNSUPPORTED
                return SaslHandShakeResponse_v1(code, ["PLAIN"]).encode()
            case 0:
                return self._produce(ProduceRequest_v3.decode(body))
            case _:
                raise ConnectionError(f"nothing is known of requests of kind {kind}")

    def _produce(self, request: Any) -> bytes:
        answers = []
        with self._changed:
            self.asked += 1
            for topic, partitions in request.topics:
                done = []
                for partition, batches in partitions:
                    if not self.is_refusing:
                        self.received += [(topic, each) for each in _records(batches)]
                    code = _NOT_LEADER if self.is_refusing else 0
                    done.append((partition, code, 0, -1))
                answers.append((topic, done))
            self._changed.notify_all()
        return ProduceResponse_v3(answers, 0).encode()


def _records(batches: bytes) -> list[Any]:
    found = []
    memory = MemoryRecords(batches)
    while memory.has_next():
        batch = memory.next_batch()
        assert batch.validate_crc()
        found += [json.loads(record.value) for record in batch]
    return found
