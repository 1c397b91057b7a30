"""API keys go to the endpoint that they are for, and nowhere else."""

from __future__ import annotations

import json
import logging

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply, ScriptedServer, completion

from fastroute.augmentation import Endpoint
from fastroute.errors import InvalidArgumentError, InvalidTypeError

CANARY = "sk-Canary/0123456789+abcdef"
OTHER = "sk-another-canary-9876543210"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", CANARY)
    monkeypatch.setenv("STRONG_KEY", OTHER)


def test_each_endpoint_gets_its_own_key_alone(server, folder, label):
    folder.write_prompts(1)
    label(
        judge=Endpoint(server.url, JUDGE, key_env="JUDGE_KEY"),
        strong=Endpoint(server.url, STRONG, key_env="STRONG_KEY"),
    )
    sent = {request.model: request.headers.get("Authorization") for request in server.requests}
    assert sent == {JUDGE: f"Bearer {CANARY}", STRONG: f"Bearer {OTHER}", WEAK: None}


ECHOES = {
    "an error": lambda: Reply(json.dumps({"error": {"message": f"Incorrect API key: {CANARY}"}}).encode(), 401),
    "an error that is no JSON": lambda: Reply(f"{'x' * 290} {CANARY}".encode(), 403),
    "a passing fault": lambda: Reply(CANARY.encode(), 500),
    "a redirect": lambda: Reply(b"", 302, {"Location": f"http://{CANARY}@elsewhere.invalid/{CANARY}"}),
    "a judgement": lambda: completion(f"key is {CANARY}"),
    "a finish reason": lambda: completion(None, finish=CANARY),
    "no completion": lambda: Reply(json.dumps({"echo": CANARY}).encode()),
    "a header that breaks HTTP": lambda: Reply(b"", headers={"X-Broken\x00": CANARY}),
    "a length that is none": lambda: Reply(b"", headers={"Content-Length": CANARY}),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_that_comes_back_goes_no_further(server, folder, label, echo, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    server.script = lambda request, seen: ECHOES[echo]()
    folder.write_answered(1)
    summary = label(asked=False, judge=Endpoint(server.url, JUDGE, key_env="JUDGE_KEY"), limits={"tries": 2})
    assert summary.failed == 1
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {CANARY}"}
    shown = capfd.readouterr()
    for text in (folder.everything.decode(), repr(summary), caplog.text, shown.out, shown.err):
        assert "Canary" not in text
        assert "0123456789" not in text


def test_redirects_are_not_followed(server, folder, label):
    elsewhere = ScriptedServer()
    try:
        for status in (301, 302, 303, 307, 308):
            location = f"{elsewhere.url}/chat/completions"
            server.script = lambda request, seen, s=status, to=location: Reply(b"", s, {"Location": to})
            folder.write_answered(1)
            judge = Endpoint(server.url, JUDGE, key_env="JUDGE_KEY")
            reason = label(asked=False, judge=judge).first_failure
            assert reason.startswith(f"status {status}, a redirect to 'http://127.0.0.1:")
            assert reason.endswith("not followed")
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_no_proxy_and_no_netrc_is_taken_from_the_environment(server, folder, label, monkeypatch, tmp_path):
    elsewhere = ScriptedServer()
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {OTHER}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", elsewhere.url)
    monkeypatch.setenv("http_proxy", elsewhere.url)
    try:
        folder.write_answered(1)
        assert label(asked=False).judged == 1
    finally:
        elsewhere.close()
    assert elsewhere.requests == []
    assert all("Authorization" not in request.headers for request in server.requests)


@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "localhost.example.com", "[2001:db8::1]", "127.0.0.1.nip.io"]
)
def test_a_key_never_goes_over_plain_http(host):
    with pytest.raises(InvalidArgumentError, match=r"http would send the key to .* in the clear"):
        Endpoint(f"http://{host}/v1", "m", key_env="JUDGE_KEY")
    Endpoint(f"http://{host}/v1", "m")
    Endpoint(f"https://{host}/v1", "m", key_env="JUDGE_KEY")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "LOCALHOST"])
def test_but_to_this_machine(host):
    Endpoint(f"http://{host}:8000/v1", "m", key_env="JUDGE_KEY")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "variable SOME_KEY is not set"),
        ("", "variable SOME_KEY is not set"),
        (f"{CANARY}\n", "holds a space, a line end or no ASCII"),
        (f"{CANARY}\r\nHost: evil", "holds a space"),
        (f"{CANARY} x", "holds a space"),
        (f"{CANARY}é", "no ASCII"),
    ],
)
def test_keys_that_are_none(server, folder, label, monkeypatch, value, reason):
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    folder.write_answered(1)
    with pytest.raises(InvalidArgumentError, match=f"judge: key_env: .*{reason}") as caught:
        label(asked=False, judge=Endpoint(server.url, JUDGE, key_env="SOME_KEY"))
    assert "Canary" not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("mistaken", [CANARY, "hfCanary0123456789"])
def test_a_key_given_in_place_of_a_name_is_not_shown(mistaken):
    with pytest.raises(InvalidArgumentError) as caught:
        Endpoint("https://host/v1", "m", key_env=mistaken).key()
    assert "Canary" not in str(caught.value)
    assert "it may be a key" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{CANARY}@host/v1",
        f"https://{CANARY}@host/v1",
        f"https://host/v1?api-key={CANARY}",
        f"https://host/v1#{CANARY}",
        f"ftp://x:{CANARY}@host",
    ],
)
def test_a_key_in_a_url_is_refused_and_not_shown(url):
    with pytest.raises(InvalidArgumentError, match="not shown") as caught:
        Endpoint(url, "m")
    assert "Canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "host/v1", "ftp://host", "https://", "file:///etc/passwd", "https://host:port/v1", "https://[::1/v1",
     "https://host/v1/chat/completions", "https://ho st/v1", "https://host/\n", "https://höst/v1", "https://host:99999"],
)  # fmt: skip
def test_urls_that_are_refused(url):
    with pytest.raises(InvalidArgumentError, match="url: found"):
        Endpoint(url, "m")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"model": ""}, "model: found an empty name"),
        ({"price_in": 1.0}, "price_in, price_out: found one of the two"),
        ({"price_in": -1.0, "price_out": 1.0}, "price_in: found -1.0"),
        ({"price_in": "2", "price_out": 1.0}, "price_in: found '2'"),
        ({"key_env": 7}, "key_env: found something else than the name"),
        ({"price_in": 1.0, "price_out": float("nan")}, "price_out: found nan"),
        ({"price_in": 1.0, "price_out": float("inf")}, "price_out: found inf"),
        ({"max_tokens": 0}, "max_tokens: found 0"),
        ({"max_tokens": True}, "max_tokens: found True"),
        ({"extra": {"max_completion_tokens": "9"}}, "max_tokens: found '9'"),
        ({"extra": {"model": "x"}}, "extra: found 'model', which is set otherwise"),
        ({"extra": {"stream": True}}, "extra: found 'stream'"),
        ({"extra": {"top_p": float("nan")}}, "extra: can't be written as JSON"),
        ({"extra": {"stop": {1}}}, "extra: can't be written as JSON"),
    ],
)
def test_endpoints_that_are_refused(arguments, reason):
    with pytest.raises(InvalidArgumentError, match=reason):
        Endpoint(**({"url": "https://host/v1", "model": "m"} | arguments))


@pytest.mark.parametrize("name", ["url", "model"])
def test_arguments_of_another_type(name):
    with pytest.raises(InvalidTypeError, match=f"{name}: found bytes; allowed: a string"):
        Endpoint(**({"url": "https://host/v1", "model": "m"} | {name: b"x"}))
