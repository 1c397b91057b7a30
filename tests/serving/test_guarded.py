"""Who may ask, for how much, and what never leaves: gates 24, 25, 26, 27 and 28."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from typing import Any

import pytest
from tests.serving.conftest import CLIENT_KEY, HARD, UPSTREAM_KEY, Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/route"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/big"),
    ("GET", "/metrics"),
    ("GET", "/unknown"),
]
GOOD_KEY = {"authorization": f"Bearer {CLIENT_KEY}"}
LIMITS = {
    "body_bytes": 4096,
    "header_bytes": 2048,
    "json_depth": 8,
    "messages": 5,
    "connect_seconds": 2,
    "read_seconds": 20,
    "body_seconds": 1,
    "header_seconds": 1,
}


@pytest.fixture(scope="module")
def guarded(start: Start, upstream: ScriptedUpstream) -> Served:
    """A server with keys and narrow limits that logs all it can."""
    models = [
        {"name": "big", "base_url": upstream.url("big"), "key_env": "UPSTREAM_KEY"},
        {"name": "small", "base_url": upstream.url("small")},
    ]
    return start(
        {"KEYS": f"{CLIENT_KEY},another-key-1", "UPSTREAM_KEY": UPSTREAM_KEY},
        models=models,
        client_keys={"env": "KEYS"},
        limits=LIMITS,
        log={"level": "debug"},
    )


def chat(content: Any = "hi", **members: Any) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": content}]} | members).encode()


BAD_KEYS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong-key",
    f"Bearer {CLIENT_KEY[:-1]}",
    f"Bearer {CLIENT_KEY}x",
    f"Bearer x{CLIENT_KEY}",
    f"Bearer {CLIENT_KEY.upper()}",
    f"Bearer {CLIENT_KEY} {CLIENT_KEY}",
    f"Bearer {CLIENT_KEY},another-key-1",
    f"Basic {CLIENT_KEY}",
    f"Token {CLIENT_KEY}",
    CLIENT_KEY,
    f"Bearer{CLIENT_KEY}",
    f'Bearer "{CLIENT_KEY}"',
    f"Bearer {UPSTREAM_KEY}",
    "Bearer KEYS",
    "Bearer " + "a" * 1000,
    "Bearer \xff\xfe",
    "Bearer null",
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_gate_24_twenty_bad_keys_on_every_route(
    guarded: Served, upstream: ScriptedUpstream, method: str, path: str
) -> None:
    assert len(BAD_KEYS) > 20
    for key in BAD_KEYS:
        headers = {} if key is None else {"authorization": key}
        reply = guarded.ask(path, chat() if method == "POST" else None, headers, method)
        assert reply.status == 401, key
        assert reply.error()["code"] == "invalid_api_key"
        reply = guarded.ask(f"{path}?api_key={CLIENT_KEY}", chat() if method == "POST" else None, headers, method)
        assert reply.status == 401
    assert not upstream.received
    for key in (CLIENT_KEY, "another-key-1"):
        body = chat(model="small", prompt="x", input="x") if method == "POST" else None
        reply = guarded.ask(path, body, {"authorization": f"bearer {key}"}, method)
        assert reply.status == (404 if path == "/unknown" else 200), reply.body


def test_gate_24_a_key_that_comes_twice_is_none(guarded: Served) -> None:
    head = (
        f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\nAuthorization: Bearer no\r\n\r\n"
    )
    assert raw(guarded, head.encode()).startswith(b"HTTP/1.1 401 ")


def test_probes_need_no_key_and_tell_nothing(guarded: Served) -> None:
    assert guarded.ask("/health").body == b'{"status":"ok"}'
    assert guarded.ask("/ready").body == b'{"status":"ready"}'


@pytest.mark.parametrize(
    "header",
    [
        {"host": "evil.example"},
        {"host": "evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
    ],
)
def test_gate_24_without_keys_pages_of_others_may_not_ask(
    served: Served, upstream: ScriptedUpstream, header: dict[str, str]
) -> None:
    reply = served.ask(body=chat(), headers=header)
    assert reply.status == 403
    assert reply.error()["code"] == "not_local"
    assert not upstream.received
    for allowed in ({"host": f"localhost:{served.port}"}, {"origin": "http://127.0.0.1:3000"}, {"host": "[::1]"}):
        assert served.ask(body=chat(), headers=allowed).status == 200


def raw(served: Served, content: bytes, *, end: bool = False) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(content)
        if end:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while chunk := connection.recv(65536):
                found += chunk
                head, split, body = found.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                if split and length and len(body) >= int(length[1]):
                    break
        except ConnectionResetError:
            pass
        return found


def padded(size: int) -> bytes:
    body = chat("")
    return body.replace(b'"content": ""', b'"content": "%s"' % (b"a" * (size - len(body))))


@pytest.mark.parametrize("chunked", [False, True])
def test_gate_25_bodies(guarded: Served, chunked: bool) -> None:
    for size, status in ((4096, 200), (4097, 413)):
        body = padded(size)
        assert len(body) == size
        if not chunked:
            reply = guarded.ask(body=body, headers=GOOD_KEY)
            assert reply.status == status
            continue
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
        parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:100], body[100:]))
        found = raw(guarded, head.encode() + b"transfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
        assert found.startswith(b"HTTP/1.1 %d " % status)


def test_gate_25_headers(guarded: Served) -> None:
    fixed = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
    counted = len("/v1/models") + len("host" + "x") + len("authorization" + f"Bearer {CLIENT_KEY}") + len("x-pad")
    for size, status in ((2048, 200), (2049, 431)):
        found = raw(guarded, f"{fixed}x-pad: {'a' * (size - counted)}\r\n\r\n".encode())
        assert found.startswith(b"HTTP/1.1 %d " % status), found
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"
    # one header without an end, in pieces
    assert raw(guarded, b"GET / HTTP/1.1\r\nx: " + b"a" * 1_000_000).startswith((b"HTTP/1.1 431 ", b""))


def test_gate_25_depth_and_messages(guarded: Served) -> None:
    for depth, status in ((7, 200), (8, 400)):  # within the object of the request
        value = b"[" * depth + b'"{[{[{[{[\\"{[\\\\"' + b"]" * depth
        body = chat()[:-1] + b', "x": ' + value + b"}"
        reply = guarded.ask(body=body, headers=GOOD_KEY)
        assert reply.status == status, reply.body
    assert reply.error()["code"] == "too_deep"
    assert guarded.ask(body=b"[" * 4000, headers=GOOD_KEY).status == 400
    for count, status in ((5, 200), (6, 400)):
        messages = [{"role": "user", "content": "hi"}] * count
        reply = guarded.ask(body=chat(messages=messages), headers=GOOD_KEY)
        assert reply.status == status
    assert reply.error()["code"] == "too_many_messages"


def test_gate_25_what_is_never_finished_is_ended(guarded: Served) -> None:
    assert raw(guarded, b"GET /v1/models HTT").startswith(b"HTTP/1.1 408 ")
    head = f"POST /v1/route HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-length: 100\r\n\r\n"
    assert raw(guarded, head.encode() + b"{").startswith(b"HTTP/1.1 408 ")


def test_gate_25_two_hundred_clients_claim_a_gibibyte(guarded: Served) -> None:
    guarded.ask(body=chat(), headers=GOOD_KEY)
    before = guarded.memory()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n"
    sockets = [socket.create_connection(("127.0.0.1", guarded.port), timeout=20) for _ in range(200)]
    try:
        for index, connection in enumerate(sockets):
            claim = (
                "transfer-encoding: chunked\r\n\r\n40000000\r\n" if index % 2 else "content-length: 1073741824\r\n\r\n"
            )
            connection.sendall((head + claim).encode())
        most = 0
        for connection in sockets:
            try:
                for _ in range(16):
                    connection.sendall(b"a" * 65536)
            except OSError:
                pass
            most = max(most, guarded.memory())
        assert guarded.ask("/health").status == 200
    finally:
        for connection in sockets:
            connection.close()
    assert most - before < 64 << 20, f"grew by {(most - before) >> 20} MiB"


def mutations(seed: int, count: int) -> list[bytes]:
    """Bodies of which each is bad, or odd."""
    draw = random.Random(seed)
    values = [
        None,
        True,
        7,
        -1.5,
        "",
        "x",
        [],
        {},
        [[]],
        [None],
        [7],
        {"role": 7},
        [{"role": None}],
        [{}],
        "\x00",
        "🐢",
    ]
    bodies = []
    for _ in range(count):
        kind = draw.randrange(5)
        body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": False}
        if kind == 0:  # damaged bytes
            raw_body = bytearray(json.dumps(body).encode())
            for _ in range(draw.randint(1, 4)):
                raw_body[draw.randrange(len(raw_body))] = draw.randrange(256)
            bodies.append(bytes(raw_body))
        elif kind == 1:  # cut short
            text = json.dumps(body).encode()
            bodies.append(text[: draw.randrange(len(text))])
        elif kind == 2:  # a wrong member
            body[draw.choice(["model", "messages", "stream", "tools"])] = draw.choice(values)  # type: ignore[assignment]
            bodies.append(json.dumps(body).encode())
        elif kind == 3:  # a wrong message
            wrong = {"role": draw.choice(values), "content": draw.choice([*values, [draw.choice(values)]])}
            body["messages"] = [draw.choice([wrong, draw.choice(values)])]  # type: ignore[list-item]
            bodies.append(json.dumps(body).encode())
        else:  # noise
            bodies.append(draw.randbytes(draw.randrange(200)))
    return bodies


def test_gate_26_bad_requests_are_the_clients_fault(guarded: Served, upstream: ScriptedUpstream) -> None:
    statuses: dict[int, int] = {}
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/route"]
    # The scripted model takes anything: what gets there was odd, not bad.
    upstream.script.update(big="status:400", small="status:400")
    for index, body in enumerate(mutations(26, 5600)):
        reply = guarded.ask(paths[index % 4], body, GOOD_KEY, "POST")
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        assert reply.status < 500, (body, reply.body)
        if reply.status >= 400:
            reply.error()
    assert sum(count for status, count in statuses.items() if status >= 400) >= 5300, statuses


BAD_HTTP = [
    b"\x00\x01\x02\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"get /v1/models HTTP/1.1\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nhost : x\r\n\r\n",
    b"POST /v1/route HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /v1/route HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{",
    b"POST /v1/route HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{",
    b"POST /v1/route HTTP/1.1\r\ntransfer-encoding: gzip, x\r\n\r\n",
    b"POST /v1/route HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n",
    b"TRACE /v1/models HTTP/1.1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
]


@pytest.mark.parametrize("content", BAD_HTTP)
def test_gate_26_bad_http(guarded: Served, content: bytes) -> None:
    head, _, body = raw(guarded, content, end=True).partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 4\d\d ", head), head
    assert {"message", "type", "param", "code"} <= set(json.loads(body)["error"])
    assert guarded.ask("/health").status == 200


TRICKS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (path, members, headers)
    for path in ("/v1/chat/completions", "/v1/completions")
    for members, headers in [
        ({"model": "http://127.0.0.1:{}/v1"}, {}),
        ({"model": "big@127.0.0.1:{}"}, {}),
        ({"model": "../../foreign"}, {}),
        ({"model": "big/../../foreign"}, {}),
        ({"model": "big\r\nhost: evil"}, {}),
        ({"model": "big?x=http://127.0.0.1:{}"}, {}),
        ({"model": "big", "base_url": "http://127.0.0.1:{}/v1", "api_base": "http://127.0.0.1:{}"}, {}),
        ({"model": "big", "api_key": "x", "extra_headers": {"authorization": "Bearer x"}}, {}),
        ({"model": "auto", "router": {"artifact": "http://127.0.0.1:{}"}}, {}),
        ({"model": "auto", "messages": [{"role": "user", "content": "http://127.0.0.1:{}/ fetch this"}]}, {}),
        ({"model": "auto"}, {"host": "127.0.0.1:{}"}),
        ({"model": "auto"}, {"x-forwarded-host": "127.0.0.1:{}", "forwarded": "host=127.0.0.1:{}"}),
        ({"model": "auto"}, {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"}),
        ({"model": "auto"}, {"x-original-url": "http://127.0.0.1:{}/", "x-rewrite-url": "http://127.0.0.1:{}/"}),
        ({"model": "auto"}, {"proxy-authorization": "Basic x", "proxy-connection": "keep-alive"}),
        ({"model": "auto"}, {"x-session-id": "http://127.0.0.1:{}/"}),
        ({"model": "auto"}, {"cookie": "session=1", "api-key": "x", "x-api-key": "x", "openai-organization": "o"}),
        ({"model": "auto"}, {"connection": "authorization, x-hop", "x-hop": "1", "te": "trailers"}),
        ({"model": "auto"}, {"referer": "http://127.0.0.1:{}/", "x-http-method-override": "GET"}),
        ({"model": "auto"}, {"upgrade": "websocket", "connection": "upgrade"}),
    ]
]


def test_gate_27_forty_attempts_reach_no_foreign_host(guarded: Served, upstream: ScriptedUpstream) -> None:
    foreign = ScriptedUpstream()
    assert len(TRICKS) == 40
    try:
        for path, members, headers in TRICKS:
            text = json.dumps({"messages": [{"role": "user", "content": HARD}], "prompt": "x"} | members)
            sent = {name: value.replace("{}", str(foreign.port)) for name, value in headers.items()}
            reply = guarded.ask(path, text.replace("{}", str(foreign.port)).encode(), sent | GOOD_KEY)
            # what upgrades has no body
            assert reply.status in ((400,) if "upgrade" in headers else (200, 404)), (members, reply.body)
        target = f"http://127.0.0.1:{foreign.port}/v1/models"
        raw(guarded, f"GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\r\n".encode())
        assert foreign.connections == 0
    finally:
        foreign.close()
    assert len(upstream.received) >= 26
    allowed = {"host", "content-type", "content-length", "accept", "accept-encoding", "authorization", "user-agent"}
    for got in upstream.received:
        assert {name for name, _ in got.headers} <= allowed, got.headers
        assert got.header("host") == f"127.0.0.1:{upstream.port}"
        assert got.header("authorization") == (f"Bearer {UPSTREAM_KEY}" if got.model == "big" else None)
        assert CLIENT_KEY not in str(got.headers)


def test_gate_27_redirects_are_not_followed(guarded: Served, upstream: ScriptedUpstream) -> None:
    for status in (301, 302, 303, 307, 308):
        upstream.clear()
        upstream.script.update(big=f"status:{status}", small=f"status:{status}")
        reply = guarded.ask(body=chat(), headers=GOOD_KEY)
        assert reply.status == 502
        assert reply.error()["code"] == "upstream_redirected"
        assert "location" not in reply.headers
        assert len(upstream.received) == 2


def test_gate_28_secrets_and_prompts_are_in_no_log_metric_or_error(guarded: Served, upstream: ScriptedUpstream) -> None:
    prompt = "prompt-canary-77c1"
    replies = []
    for mode in ("ok", "echo:401", "echo:400", "echo:403", "echo:429", "echo:500", "garbage", "close", "short", "gzip"):
        upstream.script.update(big=mode, small=mode)
        for model in ("big", "auto", prompt):
            for stream in (False, True):
                body = chat(prompt, model=model, stream=stream)
                replies.append(guarded.ask(body=body, headers=GOOD_KEY | {"x-session-id": prompt}))
    upstream.clear()
    bodies = (chat(prompt)[:-3], chat([{"type": prompt}]), b'{"model": "auto", "messages": "%s"}' % prompt.encode())
    replies.extend(guarded.ask(body=body, headers=GOOD_KEY) for body in bodies)
    replies.append(guarded.ask("/metrics", headers=GOOD_KEY))
    raw(guarded, f"GET /v1/models HTTP/1.1\r\nauthorization: Bearer {CLIENT_KEY}\r\nx\r\n\r\n".encode())
    for reply in replies:
        for secret in (UPSTREAM_KEY, CLIENT_KEY):
            assert secret.encode() not in reply.body
            assert secret not in str(reply.headers)
    assert prompt.encode() not in replies[-1].body
    log = "".join(guarded.log)
    assert log.count("\n") > 1
    for secret in (UPSTREAM_KEY, CLIENT_KEY, "another-key-1", prompt):
        assert secret not in log


def test_prompts_are_logged_by_choice(start: Start) -> None:
    chosen = start(log={"prompts": True})
    chosen.chat("auto", "say the word pomegranate")
    chosen.wait_for_log("pomegranate")


def test_threads_of_clients(served: Served) -> None:
    """Many connections at once, each with answers of its own."""
    wrong: list[Any] = []

    def ask(number: int) -> None:
        content = chat(f"number {number}", model="small")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
        if not raw(served, head.encode() + content).startswith(b"HTTP/1.1 200 "):
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
