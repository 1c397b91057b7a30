"""Models that fail, clients that leave, routers that fail: gates 29, 30 and 32."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.serving.conftest import HARD, Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

LIMITS = {"connect_seconds": 0.3, "read_seconds": 0.4, "concurrency": 8, "answer_bytes": 100_000}


@pytest.fixture(scope="module")
def hasty(start: Start) -> Served:
    """A server that waits for less than half a second, and for eight requests at once."""
    return start(limits=LIMITS)


# What the model does, the status and code where both do it, and whether another model is asked.
FAULTS = [
    ("close", 502, "upstream_broke", True),
    ("reset", 502, "upstream_broke", True),
    ("garbage", 502, "upstream_broke", True),
    ("empty", 502, "upstream_broke", True),
    ("gzip", 502, "upstream_broke", True),
    ("headers_only:close", 502, "upstream_broke", True),
    ("hang", 504, "upstream_timeout", True),
    ("headers_only", 504, "upstream_timeout", True),
    ("status:500", 502, "upstream_failed", True),
    ("status:502", 502, "upstream_failed", True),
    ("status:503", 503, "upstream_failed", True),
    ("status:504", 504, "upstream_timeout", True),
    ("status:529", 502, "upstream_failed", True),
    ("status:302", 502, "upstream_redirected", True),
    ("status:401", 502, "upstream_refused_key", True),
    ("status:403", 502, "upstream_refused_key", True),
    ("status:408", 504, "upstream_timeout", True),
    ("status:429", 429, None, True),
    ("status:400", 400, None, False),
    ("status:404", 404, None, False),
    ("status:413", 413, None, False),
    ("status:422", 422, None, False),
    ("short", 502, "upstream_broke", False),
    ("huge:100001", 502, "upstream_answer_too_long", False),
]


@pytest.mark.parametrize(("fault", "status", "code", "elsewhere"), FAULTS)
@pytest.mark.parametrize("stream", [False, True])
def test_gate_29_faults(
    hasty: Served, upstream: ScriptedUpstream, fault: str, status: int, code: str | None, elsewhere: bool, stream: bool
) -> None:
    # Both fail.
    upstream.script.update(big=fault, small=fault)
    reply = hasty.chat("router-mf-0", stream=stream)
    assert reply.status == status
    assert reply.error()["code"] == code
    asked = [got.model for got in upstream.received]
    assert asked == (["big", "small"] if elsewhere else ["big"])
    assert reply.headers["x-fastroute-model"] == asked[-1]
    if fault in ("status:429", "status:503"):
        assert reply.headers["retry-after"] == "7"
    # One fails: the other answers.
    upstream.clear()
    upstream.script.update(big=fault)
    fallbacks = hasty.counted('fastroute_fallbacks_total{model="small"}')
    reply = hasty.chat("router-mf-0", stream=stream)
    assert reply.status == (200 if elsewhere else status)
    assert len(upstream.received) == (2 if elsewhere else 1)
    if elsewhere:
        assert reply.headers["x-fastroute-model"] == "small"
        assert (b"[DONE]" in reply.body) == stream
        assert hasty.counted('fastroute_fallbacks_total{model="small"}') == fallbacks + 1
    # The client chose: nobody else is asked, and no request is sent twice.
    upstream.clear()
    upstream.script.update(big=fault)
    reply = hasty.chat("big", stream=stream)
    assert reply.status == status
    assert [got.model for got in upstream.received] == ["big"]


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_gate_29_after_the_first_byte_nothing_is_tried_again(
    hasty: Served, upstream: ScriptedUpstream, fault: str
) -> None:
    upstream.script.update(big=fault)
    reply = hasty.chat("router-mf-0", stream=True)
    assert reply.status == 200
    assert reply.body.count(b"data: ") == 2, "whole events only"
    assert b"Hel" in reply.body
    assert b"[DONE]" not in reply.body
    last = json.loads(reply.body.split(b"data: ")[-1])
    assert last["error"]["code"] == {"break": "upstream_broke", "stall": "upstream_timeout"}[fault]
    assert len(upstream.received) == 1


def test_gate_29_nobody_listens(start: Start, upstream: ScriptedUpstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    models = [
        {"name": "big", "base_url": f"http://127.0.0.1:{port}/v1"},
        {"name": "small", "base_url": upstream.url("small")},
    ]
    served = start(models=models)
    reply = served.chat("router-mf-0")
    assert (reply.status, reply.headers["x-fastroute-model"]) == (200, "small")
    reply = served.chat("big")
    assert (reply.status, reply.error()["code"]) == (502, "upstream_unreachable")


def test_errors_of_models_keep_their_words(hasty: Served, upstream: ScriptedUpstream) -> None:
    upstream.script.update(big="status:400")
    assert hasty.chat("big").error() == {"message": "status 400", "type": "t", "param": None, "code": None}


def test_gate_30_a_hundred_clients_leave(served: Served, upstream: ScriptedUpstream) -> None:
    slowest = 0.0
    for number in range(100):
        streams = number % 2 == 0
        upstream.clear()
        upstream.script.update(big="stall" if streams else "hang", small="hang")
        body = json.dumps({"model": "router-mf-0", "messages": [{"role": "user", "content": HARD}], "stream": streams})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(head.encode() + body.encode())
            found = b""
            if streams:
                while b"Hel" not in found:
                    found += connection.recv(65536)
            deadline = time.monotonic() + 10
            while not upstream.received and time.monotonic() < deadline:
                time.sleep(0.001)
            assert b"[DONE]" not in found
            left = time.monotonic()
        got = upstream.received[0]
        assert got.gone.wait(5)
        assert got.gone_at is not None
        slowest = max(slowest, got.gone_at - left)
    assert slowest < 1.0
    assert len(upstream.received) == 1, "nothing is tried for a client that has gone"
    upstream.clear()
    assert served.chat("small").status == 200
    assert served.counted("fastroute_in_flight") == 0


def test_a_client_that_reads_nothing_is_taken_for_gone(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(limits={"write_seconds": 0.3})
    upstream.script.update(small="flood")
    body = json.dumps({"model": "small", "messages": [], "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(head.encode() + body.encode())
        deadline = time.monotonic() + 10
        while not upstream.received and time.monotonic() < deadline:
            time.sleep(0.01)
        assert upstream.received[0].gone.wait(10), "the model goes on for nobody"
        assert served.counted("fastroute_in_flight") == 0


def sent_by(served: Served, *parts: bytes) -> socket.socket:
    """A connection over which something was sent, with pauses between."""
    client = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    for index, part in enumerate(parts):
        if index:
            time.sleep(0.2)
        client.sendall(part)
    return client


def posted(body: bytes) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def received(upstream: ScriptedUpstream, count: int = 1) -> None:
    deadline = time.monotonic() + 10
    while len(upstream.received) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_with_a_large_body_leaves(served: Served, upstream: ScriptedUpstream) -> None:
    upstream.script["small"] = "hang"
    request = posted(json.dumps({"model": "small", "messages": [{"role": "user", "content": "x" * 100_000}]}).encode())
    with sent_by(served, request[:100], request[100:]) as client:
        received(upstream)
        time.sleep(0.1)
        client.close()
        assert upstream.received[0].gone.wait(2)


@pytest.mark.parametrize("later", [0, 2])
def test_a_client_with_requests_in_line_leaves(start: Start, upstream: ScriptedUpstream, later: int) -> None:
    served = start()
    upstream.script["small"] = "hang"
    request = posted(b'{"model": "small", "messages": [{"role": "user", "content": "x"}]}')
    with sent_by(served, (3 - later) * request) as client:
        received(upstream)
        for _ in range(later):
            client.sendall(request)
            time.sleep(0.1)
        client.close()
        assert upstream.received[0].gone.wait(2)
        assert served.chat("small-not").status == 404  # a later line would be in the log by now
        assert len(upstream.received) == 1
        assert not [line for line in served.log if "ERROR" in line or "exception" in line]


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ("flood", b'{"model": "small", "stream": true, "messages": [{"role": "user", "content": "x"}]}'),
        ("huge:12000000", b'{"model": "small", "messages": [{"role": "user", "content": "x"}]}'),
    ],
)
def test_the_connection_of_a_client_that_reads_nothing_is_ended(
    start: Start, upstream: ScriptedUpstream, script: str, body: bytes
) -> None:
    served = start(limits={"write_seconds": 0.5})
    upstream.script["small"] = script
    with sent_by(served, 2 * posted(body)) as client:
        received(upstream)
        deadline = time.monotonic() + 6
        while served.counted("fastroute_in_flight"):  # the second answer waits behind the first
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        with contextlib.suppress(ConnectionResetError):
            size = 0
            while part := client.recv(1 << 20):
                size += len(part)
        assert size < 12_000_000
        assert not [line for line in served.log if "ERROR" in line]


def test_a_slow_reader_gets_all_of_a_large_answer(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(limits={"write_seconds": 0.5})
    upstream.script["small"] = "huge:12000000"
    with sent_by(served, posted(b'{"model": "small", "messages": [{"role": "user", "content": "x"}]}')) as client:
        client.settimeout(5)
        size = 0
        while size < 12_000_000:
            time.sleep(0.03)
            part = client.recv(100_000)
            assert part
            size += len(part)


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"\r\n"),
        (b"POST /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n", b"a"),
    ],
    ids=["blank lines", "a body too late"],
)
def test_an_idle_connection_is_not_kept_by_what_begins_nothing(served: Served, request_: bytes, more: bytes) -> None:
    with sent_by(served, request_, more) as client:
        client.settimeout(9)
        while client.recv(1 << 16):
            pass


def test_too_many_at_once_are_told_so_at_once(hasty: Served, upstream: ScriptedUpstream) -> None:
    upstream.script.update(small="ok:0.3")
    statuses: list[int] = []
    times: list[float] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", hasty.port, timeout=20)
        start = time.monotonic()
        body = json.dumps({"model": "small", "messages": []})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        statuses.append(response.status)
        if response.status == 503:
            times.append(time.monotonic() - start)
            assert response.getheader("retry-after") == "1"
            assert json.loads(content)["error"]["code"] == "overloaded"
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(statuses)[200] >= 8
    assert Counter(statuses)[200] + Counter(statuses)[503] == 40
    assert times, statuses
    assert hasty.chat("small").status == 200


FAILING = '''
"""Random, but for prompts that it can't bear."""
import time

class Failing:
    kind, strong, weak, threshold, artifact, encoder = "failing", "a", "b", 0.5, "", None

    def score(self, prompts):
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        found = []
        for text in texts:
            if "raise" in text:
                raise RuntimeError("prompt: " + text)
            if "nan" in text:
                found.append(float("nan"))
            elif "beyond" in text:
                found.append(7.0)
            elif "for good" in text:
                time.sleep(1000)
            elif "slow" in text:
                time.sleep(0.4)
                found.append(0.9)
            else:
                found.append(0.9)
        return found[0] if isinstance(prompts, str) else found

from fastroute import loading
_load = loading.load
loading.load = lambda name, **kw: Failing() if name == "failing" else _load(name, **kw)
from fastroute.cli import main
import sys
sys.exit(main(sys.argv[1:]))
'''


@pytest.fixture(scope="module")
def failing(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server whose router fails for some prompts."""
    script = tmp_path_factory.mktemp("failing") / "serve.py"
    script.write_text(FAILING)
    routers = [{"label": "failing", "strong": "big", "weak": "small"}]
    limits = {"routing_seconds": 0.2}
    return start(program=[sys.executable, str(script)], routers=routers, default_model="small", limits=limits)


def test_a_router_that_never_returns_does_not_keep_the_server(
    start: Start, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    script = tmp_path / "serve.py"
    script.write_text(FAILING)
    routers = [{"label": "failing", "strong": "big", "weak": "small"}]
    served = start(program=[sys.executable, str(script)], routers=routers, limits={"routing_seconds": 0.2})
    assert served.chat("auto", "for good").status == 200
    begun = time.monotonic()
    assert served.end() == 0
    assert time.monotonic() - begun < 8
    assert any("has not returned" in line for line in served.log)


def test_gate_32_twelve_hundred_routing_failures(failing: Served, upstream: ScriptedUpstream) -> None:
    assert failing.chat("auto", "well").headers["x-fastroute-model"] == "big"
    contents = ["raise", "nan", "beyond", "raise \ud800", "", [{"type": "image_url", "image_url": {"url": "data:,x"}}]]
    for number in range(1200):
        reply = failing.chat("auto", contents[number % len(contents)], stream=number % 7 == 0)
        assert reply.status == 200, reply.body
        assert reply.headers["x-fastroute-model"] == "small"
        assert reply.headers["x-fastroute-router"] == "failing"
        assert "x-fastroute-score" not in reply.headers
    reply = failing.chat("auto", "slow")
    assert reply.headers["x-fastroute-model"] == "small"
    assert failing.counted('fastroute_routing_failures_total{router="failing"}') == 1201
    assert "prompt: raise" not in "".join(failing.log)


def test_slow_scores_hold_up_nobody(failing: Served, upstream: ScriptedUpstream) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", failing.port, timeout=20)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "slow"}]})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    longest = 0.0
    for _ in range(50):
        start = time.monotonic()
        assert failing.ask("/health").status == 200
        longest = max(longest, time.monotonic() - start)
    assert connection.getresponse().status == 200
    connection.close()
    assert longest < 0.2, longest
