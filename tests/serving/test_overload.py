"""More requests than are let through: refusals that cost little, and connections that stay good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from tests.serving.conftest import Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

from fastroute.serving.pressure import Pressure

BODY = json.dumps({"model": "small", "messages": [{"role": "user", "content": "Hello"}]}).encode()


def request(body: bytes = BODY, extra: str = "") -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class Connection:
    """One that is kept open, and what comes over it."""

    def __init__(self, served: Served, timeout: float = 10) -> None:
        self._socket = socket.create_connection(("127.0.0.1", served.port), timeout=timeout)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(self._rest) < length:
            self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def __enter__(self) -> Connection:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self._rest += data


@pytest.fixture(scope="module")
def one_at_once(start: Start) -> Served:
    return start(limits={"concurrency": 1, "read_seconds": 30, "header_seconds": 1, "header_bytes": 1000})


@contextlib.contextmanager
def full(served: Served, upstream: ScriptedUpstream) -> Iterator[None]:
    """A request that stays with its model."""
    upstream.script["small"] = "hang"
    seen = len(upstream.received)
    with Connection(served) as connection:
        connection.send(request())
        deadline = time.monotonic() + 10
        while len(upstream.received) == seen:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield
    upstream.script.clear()
    while served.counted("fastroute_in_flight"):
        assert time.monotonic() < deadline + 10
        time.sleep(0.01)


def test_a_refused_connection_is_good_for_the_next_request(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    before = one_at_once.counted('fastroute_answers_total{status="503"}')
    with Connection(one_at_once) as connection:
        with full(one_at_once, upstream):
            for _ in range(3):
                connection.send(request())
                status, headers, body = connection.answer()
                assert status == 503
                assert headers["retry-after"] == "1"
                assert headers["content-type"] == "application/json"
                assert json.loads(body)["error"]["code"] == "overloaded"
            connection.send(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert connection.answer()[0] == 200
            assert len(upstream.received) == 1
        connection.send(request())
        assert connection.answer()[0] == 200
    assert one_at_once.counted('fastroute_answers_total{status="503"}') == before + 3


def test_the_body_of_a_refused_request_is_passed_over(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    with Connection(one_at_once) as connection:
        with full(one_at_once, upstream):
            large = request(b'{"model": "small", "messages": [' + b" " * 300_000 + b"]}")
            connection.send(large[:5000])
            assert connection.answer()[0] == 503  # from its headers
            connection.send(large[5000:])
            connection.send(request(b"no JSON"))
            assert connection.answer()[0] == 503
        connection.send(request())
        assert connection.answer()[0] == 200


def test_a_refused_body_has_to_come_in_time(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    with full(one_at_once, upstream), Connection(one_at_once) as connection:
        connection.send(request()[:-5])
        assert connection.answer()[0] == 503
        with pytest.raises(ConnectionError):
            connection.answer()


@pytest.mark.parametrize("chunked", [True, False])
def test_a_refused_body_has_its_bounds(start: Start, upstream: ScriptedUpstream, *, chunked: bool) -> None:
    served = start(limits={"concurrency": 1, "read_seconds": 30, "body_bytes": 100_000})
    head = request(b"")[: -len("content-length: 0\r\n\r\n")]
    framing = b"transfer-encoding: chunked\r\n\r\nffffffff\r\n" if chunked else b"content-length: 1000000000000\r\n\r\n"
    sent = 0
    with full(served, upstream), Connection(served) as connection:
        connection.send(head + framing)
        assert connection.answer()[0] == 503
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                connection.send(b"x" * 50_000)
                sent += 50_000
    assert sent < 100_000_000


def test_a_connection_that_is_to_end_is_refused_and_ends(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    with full(one_at_once, upstream), Connection(one_at_once) as connection:
        connection.send(request(extra="connection: close\r\n"))
        assert connection.answer()[0] == 503
        with pytest.raises(ConnectionError):
            connection.answer()


def test_two_requests_in_one_packet(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    with Connection(one_at_once) as connection:
        with full(one_at_once, upstream):
            connection.send(request() + request() + b"GET /ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert [connection.answer()[0] for _ in range(3)] == [503, 503, 200]
        # The second one waits for the first, and is not taken for one too many.
        connection.send(request() + request())
        assert [connection.answer()[0] for _ in range(2)] == [200, 200]


def test_refusals_that_nobody_takes_are_not_piled_up(one_at_once: Served, upstream: ScriptedUpstream) -> None:
    with full(one_at_once, upstream), Connection(one_at_once, timeout=2) as connection:
        before, sent = one_at_once.memory(), 0
        with contextlib.suppress(OSError):  # the connection is ended, or nothing of it is read for two seconds
            while sent < 20_000_000:
                connection.send(b"POST / HTTP/1.1\r\n\r\n" * 5000)
                sent += 5000 * 19
        assert sent < 20_000_000
        assert one_at_once.memory() - before < 50_000_000


@pytest.mark.parametrize("tail", [b"0\r\nx: ", b"1;x="])
@pytest.mark.parametrize("busy", [True, False])
def test_what_follows_a_body_is_bounded(
    one_at_once: Served, upstream: ScriptedUpstream, tail: bytes, *, busy: bool
) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    with full(one_at_once, upstream) if busy else contextlib.nullcontext(), Connection(one_at_once) as connection:
        connection.send(head + tail)
        for _ in range(8):
            with contextlib.suppress(ConnectionError):
                connection.send(b"a" * 900)
            time.sleep(0.05)
        if not busy:
            assert connection.answer()[0] == 431
        else:
            assert connection.answer()[0] == 503
            with pytest.raises(ConnectionError):
                connection.answer()


def test_an_idle_server_does_not_count_its_free_places() -> None:
    counted = 0

    async def run() -> None:
        nonlocal counted
        watching = asyncio.create_task(Pressure(lambda: 1_000_000_000).run())
        for _ in range(5):
            await asyncio.sleep(0.02)
            counted += 1
        watching.cancel()

    start = time.process_time()
    asyncio.run(run())
    assert counted == 5
    assert time.process_time() - start < 2


def test_refused_connections_wait_only_while_the_loop_is_behind() -> None:
    room = 0
    pressure = Pressure(lambda: room)
    paused: list[int] = []
    read: list[int] = []

    def hold(count: int) -> None:
        for index in range(count):
            pressure.hold(lambda index=index: paused.append(index), lambda index=index: read.append(index))  # type: ignore[misc]

    async def run() -> None:
        nonlocal room
        watching = asyncio.create_task(pressure.run())
        await asyncio.sleep(0)
        hold(2)
        assert not paused
        time.sleep(0.1)
        await asyncio.sleep(0.001)
        assert pressure.seconds > 0.05
        hold(5)
        assert paused == [0, 1, 2, 3, 4]
        pressure.release()
        assert read == [0]
        room = 2
        await asyncio.sleep(0.015)
        room = 0
        assert read[:3] == [0, 1, 2]
        await asyncio.sleep(1.2)
        assert read == [0, 1, 2, 3, 4]  # none waits for longer than a second
        while pressure.seconds > 0.02:  # the machine may be busy
            await asyncio.sleep(0.01)
        hold(1)
        assert len(paused) == 5
        watching.cancel()

    asyncio.run(run())
