"""What encoder and router share: tries, waits, keys, threads, event loops, forks, interrupts."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.endpoints.scripted_server import Reply
from tests.endpoints.text_models import SMALL, TextModels, embedding, embeddings

from fastroute.encoders import OpenAIEncoder
from fastroute.errors import EndpointError, InvalidArgumentError
from fastroute.routers import CausalLlmEndpointRouter

PROMPTS = [f"prompt {number}" for number in range(40)]
CANARY = "sk-Canary/0123456789+abcdef"


def row(text):
    return np.array([embedding(text)], np.float32)


def first_time(reply):
    return lambda request, seen: reply if seen == 0 else None


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_another_try_after_a_passing_fault(server, encoder_of, router_of, status):
    server.script = first_time(Reply(b"busy", status=status))
    np.testing.assert_array_equal(encoder_of().embed(["a"]), row("a"))
    router = router_of()
    router.score("a")
    assert (len(server.requests), router.fallbacks) == (4, 0)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_no_other_try_after_a_refusal(server, encoder_of, status):
    server.script = lambda request, seen: Reply(b'{"error": {"message": "no"}}', status=status)
    with pytest.raises(EndpointError, match=f"status {status}: no$"):
        encoder_of().embed(["a"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["reset", "cut", "nothing"])
def test_another_try_after_a_broken_connection(server, encoder_of, fault):
    def script(request, seen):
        if seen:
            return None
        if fault == "cut":
            reply = embeddings(request)
            reply.cut = 20
            return reply
        return Reply(b"", reset=True) if fault == "reset" else Reply(b"x", cut=1)

    server.script = script
    np.testing.assert_array_equal(encoder_of().embed(["a"]), row("a"))
    assert len(server.requests) == 2


def test_tries_are_bounded(server, encoder_of):
    server.script = lambda request, seen: Reply(b"", status=500)
    with pytest.raises(EndpointError, match=r"status 500: \(no text\) \(tried 4 times\)"):
        encoder_of(tries=4).embed(["a"])
    assert len(server.requests) == 4


def test_timeouts_are_tried_again_and_bounded(server, encoder_of, router_of):
    server.script = lambda request, seen: server.hold() if seen == 0 else None
    np.testing.assert_array_equal(encoder_of(timeout=0.2).embed(["a"]), row("a"))
    began = time.monotonic()
    assert router_of(timeout=0.2, tries=1).score("a") == 1.0
    assert time.monotonic() - began < 5
    with pytest.raises(EndpointError, match="no answer in time"):
        router_of(timeout=0.2, tries=1, fallback=None).score("b")


def test_nobody_listens(encoder_of):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        encoder = encoder_of(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1", tries=2)
        with pytest.raises(EndpointError, match=r"no connection: .*\(tried 2 times\)"):
            encoder.embed(["a"])


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_by_every_request(server, encoder_of, form):
    def script(request, seen):
        if len(server.requests) > 1:
            return None
        # A date has whole seconds, so two from now are at least one.
        after = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
        return Reply(b"", 429, {"Retry-After": after})

    server.script = script
    encoder = encoder_of(batch_texts=1, concurrency=1)
    np.testing.assert_array_equal(encoder.embed(["a", "b"]), np.concatenate([row("a"), row("b")]))
    assert server.requests[1].at - server.requests[0].at >= 0.9


def test_a_retry_after_that_is_too_long_is_not_waited_for(server, router_of):
    server.script = lambda request, seen: Reply(b"quota", 429, {"Retry-After": "6"})
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"status 429: quota$"):
        router_of(fallback=None, longest_wait=5.0).score("a")
    assert time.monotonic() - began < 5


def test_a_compressed_answer_is_not_unpacked(server, encoder_of):
    server.script = lambda request, seen: Reply(
        gzip.compress(embeddings(request).body), headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(EndpointError, match="compressed, which was not asked for"):
        encoder_of().embed(["a"])
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(server, encoder_of, router_of, monkeypatch, status):
    monkeypatch.setenv("SOME_KEY", CANARY)
    elsewhere = TextModels()
    try:
        server.script = lambda request, seen: Reply(b"", status, {"Location": f"{elsewhere.url}/embeddings"})
        with pytest.raises(EndpointError, match=f"status {status}, a redirect to '.*': not followed"):
            encoder_of(key_env="SOME_KEY").embed(["a"])
        assert router_of(key_env="SOME_KEY").score("a") == 1.0
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_no_proxy_is_taken_from_the_environment(server, encoder_of, monkeypatch):
    elsewhere = TextModels()
    monkeypatch.setenv("HTTP_PROXY", elsewhere.url)
    monkeypatch.setenv("http_proxy", elsewhere.url)
    try:
        encoder_of().embed(["a"])
    finally:
        elsewhere.close()
    assert elsewhere.requests == []


ECHOES = {
    "an error": lambda: Reply(json.dumps({"error": {"message": f"Incorrect API key: {CANARY}"}}).encode(), 401),
    "an error that is no JSON": lambda: Reply(f"{'x' * 290} {CANARY}".encode(), 403),
    "a passing fault": lambda: Reply(CANARY.encode(), 500),
    "a redirect": lambda: Reply(b"", 302, {"Location": f"http://{CANARY}@elsewhere.invalid/{CANARY}"}),
    "no answer": lambda: Reply(json.dumps({"echo": CANARY}).encode()),
    "a header that breaks HTTP": lambda: Reply(b"", headers={"X-Broken\x00": CANARY}),
}


class TestKeys:
    @pytest.fixture(autouse=True)
    def keys(self, monkeypatch):
        monkeypatch.setenv("SOME_KEY", CANARY)

    def test_it_is_sent_and_not_kept(self, server, encoder_of, router_of, tmp_path):
        encoder, router = encoder_of(key_env="SOME_KEY"), router_of(key_env="SOME_KEY")
        encoder.embed(["a"])
        router.score("a")
        assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {CANARY}"}
        encoder.save(tmp_path / "encoder")
        router.save(tmp_path / "router")
        for path in tmp_path.rglob("*.json"):
            assert "SOME_KEY" in path.read_text()
            assert "Canary" not in path.read_text()

    @pytest.mark.parametrize("echo", ECHOES)
    def test_a_key_that_comes_back_goes_no_further(self, server, encoder_of, router_of, echo, caplog, capfd):
        caplog.set_level(logging.DEBUG)
        server.script = lambda request, seen: ECHOES[echo]()
        router_of(key_env="SOME_KEY", tries=2).score("a")
        for call in (
            lambda: encoder_of(key_env="SOME_KEY", tries=2).embed(["a"]),
            lambda: router_of(key_env="SOME_KEY", tries=2, fallback=None).score("a"),
        ):
            with pytest.raises(EndpointError) as caught:
                call()
            shown = capfd.readouterr()
            for text in (str(caught.value), caplog.text, shown.out, shown.err):
                assert "Canary" not in text
                assert "0123456789" not in text

    @pytest.mark.parametrize("value", [None, "", f"{CANARY}\n", f"{CANARY} x"])
    def test_keys_that_are_none(self, server, encoder_of, router_of, monkeypatch, value):
        monkeypatch.delenv("SOME_KEY")
        if value is not None:
            monkeypatch.setenv("SOME_KEY", value)
        for call in (
            lambda: encoder_of(key_env="SOME_KEY").embed(["a"]),
            lambda: router_of(key_env="SOME_KEY").score("a"),
        ):
            with pytest.raises(InvalidArgumentError, match=r"^key_env: .* SOME_KEY ") as caught:
                call()
            assert "Canary" not in str(caught.value)
        assert server.requests == []

    def test_a_key_never_goes_over_plain_http(self):
        for make in (
            lambda: OpenAIEncoder("m", base_url="http://example.com/v1", key_env="SOME_KEY"),
            lambda: CausalLlmEndpointRouter("http://example.com/v1", "m", key_env="SOME_KEY"),
        ):
            with pytest.raises(InvalidArgumentError, match="base_url: http would send the key"):
                make()


def test_so_many_requests_at_once_and_no_more(server, router_of):
    def script(request, seen):
        time.sleep(0.02)

    server.script = script
    router = router_of(concurrency=3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: router.score(PROMPTS[part::4]), range(4)))
    assert server.most_at_once == 3
    for part in range(4):
        np.testing.assert_array_equal(found[part], router.score(PROMPTS[part::4]))


def test_connections_are_used_again(server, router_of):
    router = router_of()
    for prompt in PROMPTS:
        router.score(prompt)
    assert len(server.ports) == 1


def test_inside_a_running_event_loop(server, encoder_of, router_of):
    encoder, router = encoder_of(), router_of()

    async def main():
        await asyncio.sleep(0)
        return encoder.embed(["a"]), router.score("a"), await asyncio.to_thread(router.score, "b")

    embedded, score, other = asyncio.run(main())
    np.testing.assert_array_equal(embedded, row("a"))
    assert (score, other) == (router.score("a"), router.score("b"))


def test_one_failure_leaves_other_threads_alone(server, router_of):
    server.script = lambda request, seen: Reply(b"", status=400) if "bad" in request.text else time.sleep(0.01)
    router = router_of(fallback=None)

    def work(number):
        try:
            return router.score([f"bad {number}", *PROMPTS]) if number % 2 else len(router.score(PROMPTS))
        except EndpointError:
            return "failed"

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [40, "failed"] * 3


def test_a_forked_child_asks_on_its_own(server, encoder_of):
    encoder = encoder_of(cache_entries=0)
    encoder.embed(["a"])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            same = np.array_equal(encoder.embed(["b"]), row("b"))
            os.write(writing, b"1" if same else b"0")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    assert found == b"1"
    np.testing.assert_array_equal(encoder.embed(["c"]), row("c"))
    assert server.inputs == [["a"], ["b"], ["c"]]


def test_a_fork_while_others_ask(server, router_of, encoder_of):
    server.script = lambda request, seen: time.sleep(0.005)
    router, encoder, stop = router_of(max_characters=6), encoder_of(max_characters=6), threading.Event()

    def keep_asking():
        while not stop.is_set():
            router.score(PROMPTS)
            encoder.embed(PROMPTS * 20)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(20)
                    encoder.embed(["from the child", *PROMPTS])
                    os._exit(0 if 0 <= router.score("from the child") <= 1 else 1)
                finally:
                    os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        asking.join()


INTERRUPTED = """
import os, signal, sys, threading, time
from fastroute.encoders import OpenAIEncoder
encoder = OpenAIEncoder({model!r}, base_url={url!r}, dim=8)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    encoder.embed(["held"])
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began < 5)
print(encoder.embed(["a"]).shape)
"""


def test_an_interrupt_ends_the_wait(server):
    server.script = lambda request, seen: server.hold() if request.body["input"] == ["held"] else None
    code = INTERRUPTED.format(model=SMALL, url=server.url)
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("interrupted True\n(1, 8)\n", "")


def test_a_process_ends_at_once_whatever_is_under_way(server):
    server.script = lambda request, seen: server.hold() if request.body["input"] == ["held"] else None
    code = f"""
import threading, time
from fastroute.encoders import OpenAIEncoder
encoder = OpenAIEncoder({SMALL!r}, base_url={server.url!r}, dim=8)
encoder.embed(["a"])
threading.Thread(target=encoder.embed, args=[["held"]], daemon=True).start()
time.sleep(0.3)
"""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert time.monotonic() - began < 15
    assert "Unclosed" not in ended.stderr
