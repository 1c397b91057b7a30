"""Sessions, reloading, shutting down (gate 33 in short), scores beside the loop."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import Served, Start, configuration
from tests.serving.scripted_upstream import ScriptedUpstream

import fastroute
from fastroute.policies import Decision
from fastroute.serving.sessions import Sessions


def prompts_for_both() -> tuple[str, str]:
    """A prompt for the strong model and one for the weak, at .5."""
    router = fastroute.load("mf")
    texts = [f"{word} {n}" for word in ("Prove that", "hi", "Integrate", "poem about") for n in range(40)]
    scores = router.score(texts)
    return texts[int(scores.argmax())], texts[int(scores.argmin())]


def test_a_session_keeps_its_model(served: Served, upstream: ScriptedUpstream) -> None:
    high, low = prompts_for_both()
    router = fastroute.load("mf")
    threshold = (router.score(high) + router.score(low)) / 2
    model = f"router-mf-{threshold:.6f}"
    assert served.chat(model, high).headers["x-fastroute-model"] == "big"
    assert served.chat(model, low).headers["x-fastroute-model"] == "small"
    first = served.chat(model, low, headers={"x-session-id": "s1"})
    assert first.headers["x-fastroute-model"] == "small"
    for _ in range(3):
        reply = served.chat(model, high, headers={"x-session-id": "s1"})
        assert reply.headers["x-fastroute-model"] == "small"
        assert reply.headers["x-fastroute-score"] == first.headers["x-fastroute-score"]
    assert served.chat(model, high, headers={"x-session-id": "s2"}).headers["x-fastroute-model"] == "big"
    # Another threshold is another question, and another router too.
    assert served.chat("router-mf-0", high, headers={"x-session-id": "s1"}).headers["x-fastroute-model"] == "big"
    assert served.chat(model, high, headers={"x-session-id": "x" * 257}).error()["code"] == "invalid_session"
    assert served.counted('fastroute_sticky_total{router="mf"}') == 3


def test_sessions_end_and_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(10, 3, clock=lambda: now[0])
    one = Decision("a", 0.5, 0.5, "mf", "")
    sessions.keep("s", one)
    now[0] = 9
    assert sessions.find("s") is one
    now[0] = 18  # it was heard of at 9
    assert sessions.find("s") is one
    now[0] = 29
    assert sessions.find("s") is None
    for key in "abcd":
        sessions.keep(key, one)
    assert len(sessions) == 3
    assert sessions.find("a") is None
    assert sessions.find("b") is one
    sessions.keep("e", one)  # c was silent the longest
    assert sessions.find("c") is None
    now[0] = 50
    sessions.keep("f", one)
    assert len(sessions) == 1
    sessions.resize(0, 3)
    assert len(sessions) == 0
    sessions.keep("g", one)
    assert sessions.find("g") is None


def rewrite(served: Served, config: dict[str, Any] | str) -> None:
    """Replace the configuration as editors do."""
    text = config if isinstance(config, str) else json.dumps(config)
    beside = served.path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(served.path)


def test_reload_on_a_signal_and_the_old_one_stays_when_the_new_is_bad(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(reload={"seconds": 0})
    good = configuration(upstream, reload={"seconds": 0})
    good["models"].append({"name": "third", "base_url": upstream.url("third")})
    rewrite(served, good)
    assert served.chat("third").status == 404
    os.kill(served.process.pid, signal.SIGHUP)
    served.wait_for_log("reloaded")
    assert served.chat("third").status == 200
    for bad, message in (
        ("models: [", "broken YAML"),
        (good | {"routers": [{"label": "none", "strong": "big", "weak": "small"}]}, r"routers\[0\].artifact"),
        (good | {"model": []}, "did you mean 'models'"),
    ):
        rewrite(served, bad)
        os.kill(served.process.pid, signal.SIGHUP)
        served.wait_for_log(f"the old configuration stays: .*{message}")
        assert served.chat("third").status == 200
        assert served.chat("auto").headers["x-fastroute-router"] == "mf"
    assert served.counted('fastroute_reloads_total{result="failed"}') == 3
    assert served.counted('fastroute_reloads_total{result="done"}') == 1


def test_reload_when_a_file_changes_under_load(start: Start, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """A configuration, a key, an artifact: no request fails meanwhile."""
    artifact, key = tmp_path / "router", tmp_path / "key"
    fastroute.load("mf").save(artifact)
    key.write_text("first-key-1")
    pair = {"strong": "big", "weak": "small"}

    def config(threshold: float) -> dict[str, Any]:
        found = configuration(upstream, reload={"seconds": 0.05})
        found["models"][0]["key_file"] = str(key)
        found["routers"] = [{"label": "own", "artifact": str(artifact), "threshold": threshold, **pair}]
        return found

    served = start(**config(0.0))
    stop, bad = threading.Event(), []

    def load() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
        while not stop.is_set():
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                bad.append(content)
        connection.close()

    thread = threading.Thread(target=load)
    thread.start()

    def until(what: Any) -> None:
        deadline = time.monotonic() + 10
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    try:
        assert served.chat("auto").headers["x-fastroute-model"] == "big"
        rewrite(served, config(1.0))
        until(lambda: served.chat("auto").headers["x-fastroute-model"] == "small")
        key.write_text("second-key-22")
        until(lambda: served.chat("big") and upstream.received[-1].header("authorization") == "Bearer second-key-22")
        old = served.ask("/v1/route", {"messages": [{"role": "user", "content": "x"}]}).json["artifact"]
        shutil.rmtree(artifact)
        served.wait_for_log("the old configuration stays")
        assert served.chat("auto").status == 200
        fastroute.load("experts").save(artifact)
        body = {"messages": [{"role": "user", "content": "x"}]}
        until(lambda: served.ask("/v1/route", body).json["artifact"] != old)
    finally:
        stop.set()
        thread.join()
    assert not bad


def test_keys_can_not_be_removed_while_running(start: Start, upstream: ScriptedUpstream) -> None:
    served = start({"KEYS": "client-key-1"}, client_keys={"env": "KEYS"})
    rewrite(served, configuration(upstream))
    os.kill(served.process.pid, signal.SIGHUP)
    served.wait_for_log("client_keys can't be removed")
    assert served.chat("small").status == 401


@pytest.mark.parametrize("stream", [False, True])
def test_gate_33_what_is_under_way_is_finished(start: Start, upstream: ScriptedUpstream, stream: bool) -> None:
    served = start()
    upstream.script.update(small="ok:1.0")
    answers: list[bytes] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        body = json.dumps({"model": "small", "messages": [], "stream": stream})
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answers.append(response.read())
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(500)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(upstream.received) < 500 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(upstream.received) == 500
    assert served.end() == 0
    for thread in threads:
        thread.join()
    assert len(answers) == 500
    ending = b"data: [DONE]\n\n" if stream else b"}"
    assert all(answer.endswith(ending) for answer in answers)


def test_what_takes_too_long_is_cut_at_the_end(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(limits={"drain_seconds": 1})
    upstream.script.update(small="hang")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    body = json.dumps({"model": "small", "messages": []})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    while not upstream.received:
        time.sleep(0.01)
    begun = time.monotonic()
    assert served.end() == 0
    assert time.monotonic() - begun < 5
    assert upstream.received[0].gone.wait(5)
    connection.close()


def test_a_port_that_is_taken(start: Start, served: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from fastroute.cli import main

    path = tmp_path / "fastroute.yaml"
    model = {"name": "a", "base_url": "http://127.0.0.1:9/v1"}
    path.write_text(json.dumps({"listen": {"port": served.port}, "models": [model]}))
    assert main(["serve", "--config", str(path)]) == 1
    assert f"listen: found 127.0.0.1:{served.port}, which is not free" in capsys.readouterr().err
