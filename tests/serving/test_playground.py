"""The playground's paths over HTTP: who gets them, and that they tell the truth."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import CLIENT_KEY, HARD, Served, Start, configuration
from tests.serving.scripted_upstream import ScriptedUpstream

import fastroute

BUILT_IN = ["experts", "mf", "knn", "sw_ranking"]
PAIR = {"strong": "big", "weak": "small"}
GOOD_KEY = {"authorization": f"Bearer {CLIENT_KEY}"}
FILES = {
    "/": "text/html",
    "/playground/style.css": "text/css",
    "/playground/icon.svg": "image/svg+xml",
    "/playground/playground.js": "text/javascript",
    "/playground/server.js": "text/javascript",
    "/playground/routers.js": "text/javascript",
    "/playground/threshold.js": "text/javascript",
    "/playground/traffic.js": "text/javascript",
    "/playground/charts.js": "text/javascript",
    "/playground/dom.js": "text/javascript",
}


@pytest.fixture(scope="module")
def open_one(start: Start) -> Served:
    """A server with a playground and the built-in routers."""
    return start(playground=True, routers=[{"label": label, **PAIR} for label in BUILT_IN])


@pytest.fixture(scope="module")
def keyed(start: Start) -> Served:
    return start({"KEYS": CLIENT_KEY}, playground=True, client_keys={"env": "KEYS"}, log={"level": "debug"})


def scores(served: Served, prompt: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    reply = served.ask("/playground/scores", {"prompt": prompt}, headers)
    assert reply.status == 200, reply.body
    return {router["label"]: router for router in reply.json["routers"]}


def hour(served: Served, headers: dict[str, str] | None = None) -> dict[str, Any]:
    reply = served.ask("/playground/hour", headers=headers)
    assert reply.status == 200, reply.body
    return reply.json  # type: ignore[no-any-return]


def routed(served: Served, label: str) -> dict[str, Any]:
    return next(router for router in hour(served)["routers"] if router["label"] == label)


def test_off_by_default(served: Served) -> None:
    for path in (*FILES, "/playground/hour", "/playground"):
        reply = served.ask(path)
        assert reply.status == 404
        assert reply.error()["code"] == "not_found"
    assert served.ask("/playground/scores", {"prompt": "x"}).status == 404
    assert served.ask("/playground/hour").status == 404


def test_a_server_without_one_loads_nothing_of_it() -> None:
    program = """
import sys, fastroute.serving.lifecycle
from types import SimpleNamespace as Some
from fastroute.serving.app import App
from fastroute.serving.metrics import Metrics
metrics = Metrics()
App(Some(config=Some(playground=False)), None, metrics, None)
assert metrics.hour is None
sys.exit(any("playground" in name for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("path", FILES)
def test_files_and_their_headers(open_one: Served, path: str) -> None:
    reply = open_one.ask(path)
    assert reply.status == 200
    assert reply.body
    assert reply.headers["content-type"].partition(";")[0] == FILES[path]
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-cache"
    head = open_one.ask(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    wrong = open_one.ask(path, {}, method="POST")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD")


def test_the_page_names_no_other_place_and_has_nothing_inline(open_one: Served) -> None:
    page = open_one.ask("/").body.decode()
    names = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert names
    assert set(names) <= FILES.keys()
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", page)
    assert not re.search(r'="[^"]*"[^\s>]', page)
    for path in FILES:
        text = open_one.ask(path).body.decode()
        assert set(re.findall(r"https?://[^\s\"'`)]*", text)) <= {"http://www.w3.org/2000/svg"}, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
        if path.endswith(".js"):
            imported = re.findall(r'from "\./(\w+\.js)"', text)
            assert {f"/playground/{name}" for name in imported} <= FILES.keys()


@pytest.mark.parametrize(
    "path",
    [
        "/playground",
        "/playground/",
        "/index.html",
        "/playground/index.html",
        "/playground/answers.py",
        "/playground/../answers.py",
        "/playground/page/style.css",
        "/playground/%2e%2e/%2e%2e/config.py",
        "/playground/..%2fanswers.py",
        "/playground/style.css/",
        "/playground/style.css%00",
        "//playground/style.css",
        "/playground//etc/passwd",
        "/PLAYGROUND/style.css",
    ],
)
def test_no_other_path_is_there(open_one: Served, path: str) -> None:
    reply = open_one.ask(path)
    assert reply.status == 404, reply.body
    assert reply.error()["code"] == "not_found"


@pytest.mark.parametrize("header", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}])
def test_a_page_of_another_host_gets_nothing(open_one: Served, header: dict[str, str]) -> None:
    for path in (*FILES, "/playground/hour"):
        assert open_one.ask(path, headers=header).status == 403
    assert open_one.ask("/playground/scores", {"prompt": "x"}, header).status == 403
    own = {"host": f"localhost:{open_one.port}", "origin": f"http://localhost:{open_one.port}"}
    assert open_one.ask("/", headers=own).status == 200
    assert scores(open_one, "x", own)


def test_a_key_is_needed_for_data_and_not_for_files(keyed: Served) -> None:
    for path in FILES:
        assert keyed.ask(path).status == 200
    for key in (None, "Bearer wrong-key-1", CLIENT_KEY):
        headers = {} if key is None else {"authorization": key}
        assert keyed.ask("/playground/hour", headers=headers).status == 401
        assert keyed.ask("/playground/scores", {"prompt": "x"}, headers).status == 401
        assert keyed.ask(f"/playground/hour?api_key={CLIENT_KEY}", headers=headers).status == 401
    assert hour(keyed, GOOD_KEY)["routers"]
    assert scores(keyed, "pomegranate-77", GOOD_KEY)["mf"]["score"] is not None
    assert "pomegranate-77" not in "".join(keyed.log)
    assert CLIENT_KEY not in "".join(keyed.log)


def test_prompts_are_logged_by_choice(start: Start) -> None:
    chosen = start(playground=True, log={"prompts": True})
    scores(chosen, "say pomegranate")
    chosen.wait_for_log('asked the playground: "say pomegranate"')


def test_scores_are_those_of_the_routers(open_one: Served) -> None:
    for prompt in (HARD, "What is the capital of France?", "", "\n", "wörds 🐢 " * 5000):
        said = scores(open_one, prompt)
        assert list(said) == BUILT_IN
        for label in BUILT_IN:
            router, found = fastroute.load(label), said[label]
            assert found["error"] is None
            assert found["score"] == pytest.approx(router.score(prompt), abs=1e-6)
            assert found["threshold"] == router.threshold
            assert found["model"] == ("big" if found["score"] >= router.threshold else "small")
            assert (found["strong"], found["weak"], found["kind"]) == ("big", "small", router.kind)
            assert found["artifact"] == router.artifact
            assert 0 < found["microseconds"] < 2e6


def test_why_is_what_the_routers_explain(open_one: Served) -> None:
    said = scores(open_one, HARD)
    assert said["mf"]["explanation"] is None
    ranking, near = fastroute.load("sw_ranking").explain(HARD, k=5), fastroute.load("knn").explain(HARD, k=5)  # type: ignore[attr-defined]
    battles, nearest = said["sw_ranking"]["explanation"], said["knn"]["explanation"]
    assert (battles["kind"], nearest["kind"]) == ("battles", "neighbours")
    names = ("prompt", "model_a", "model_b", "winner")
    assert [[b[n] for n in names] for b in battles["battles"]] == [
        [getattr(b, n) for n in names] for b in ranking.battles
    ]
    assert [n["prompt"] for n in nearest["nearest"]] == [n.prompt for n in near.nearest]
    assert len(battles["battles"]) == len(nearest["nearest"]) == 5
    domains = said["experts"]["explanation"]
    assert domains["kind"] == "domains"
    assert domains["gain"] == pytest.approx(fastroute.load("experts").gain(HARD), abs=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"prompt": 7}', b'{"prompt": ["x"]}', b'{"prompt": null}', b""])
def test_bad_bodies_are_the_clients_fault(open_one: Served, body: bytes) -> None:
    reply = open_one.ask("/playground/scores", body, method="POST")
    assert reply.status == 400
    reply.error()


def test_half_a_character_is_an_error_of_routers_and_of_nothing_else(open_one: Served) -> None:
    reply = open_one.ask("/playground/scores", b'{"prompt": "\\ud800"}', method="POST")
    assert reply.status == 200
    assert all(router["error"] or router["score"] is not None for router in reply.json["routers"])


def test_limits_hold(start: Start) -> None:
    small = start(playground=True, limits={"body_bytes": 100})
    assert small.ask("/playground/scores", {"prompt": "x" * 200}).status == 413
    assert small.ask("/playground/scores", method="GET").status == 405
    assert small.ask("/playground/hour", {}, method="POST").status == 405


# What takes long takes until there is a file, which the environment names.
FAILING = """
import os, sys, time
from fastroute.errors import InvalidArgumentError

class Failing:
    kind, strong, weak, threshold, artifact, encoder = "failing", "a", "b", 0.5, "", None

    def __init__(self, how):
        self.how = how

    def wait(self):
        while not os.path.exists(os.environ["RELEASE"]):
            time.sleep(0.01)

    def score(self, prompts):
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if "fail" in texts:
            if self.how == "says":
                raise InvalidArgumentError("prompt: found <b>fail</b>, allowed: others")
            if self.how == "raises":
                raise RuntimeError("secret /etc/path")
            if self.how == "sleeps":
                self.wait()
        return 0.9 if isinstance(prompts, str) else [0.9 for _ in texts]

    def explain(self, prompt):
        if self.how == "muses":
            self.wait()
        if self.how == "numbers":
            from fastroute.routers import NeighbourExplanation
            members = dict.fromkeys(NeighbourExplanation.__dataclass_fields__, {1, 2})
            return NeighbourExplanation(**members | {"nearest": ()})
        if self.how == "exits":
            sys.exit(3)
        if self.how == "ends":
            next(iter(()))
        raise RuntimeError("secret /etc/path")

from fastroute import loading
_load = loading.load
HOW = ("says", "raises", "sleeps", "muses", "numbers", "exits", "ends")
loading.load = lambda name, **kw: Failing(name) if name in HOW else _load(name, **kw)
from fastroute.cli import main
sys.exit(main(sys.argv[1:]))
"""


def fail(start: Start, folder: Path, labels: list[str], limits: dict[str, float]) -> tuple[Served, Path]:
    """A server of routers that fail, and the file that releases what takes long."""
    script, release = folder / "serve.py", folder / "release"
    script.write_text(FAILING)
    routers = [{"label": label, **PAIR} for label in labels]
    program = [sys.executable, str(script)]
    return start({"RELEASE": str(release)}, program, playground=True, routers=routers, limits=limits), release


@pytest.fixture(scope="module")
def failing(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    labels = ["mf", "says", "raises", "sleeps", "muses", "numbers", "exits", "ends"]
    served, release = fail(start, tmp_path_factory.mktemp("failing"), labels, {"routing_seconds": 2})
    yield served
    release.touch()


def test_a_router_that_fails_is_an_error_beside_the_others(failing: Served) -> None:
    said = scores(failing, "fail")
    assert said["mf"]["score"] == pytest.approx(fastroute.load("mf").score("fail"), abs=1e-6)
    assert said["says"]["error"] == "prompt: found <b>fail</b>, allowed: others"
    assert said["raises"]["error"] == "RuntimeError"
    assert said["sleeps"]["error"] == "took longer than routing_seconds, 2 s"
    for label in ("says", "raises", "sleeps"):
        assert said[label]["score"] is said[label]["model"] is said[label]["explanation"] is None


def test_an_explanation_that_fails_leaves_the_score(failing: Served) -> None:
    scores(failing, "well")
    said = scores(failing, "well")  # the explanation that takes long is not in the way of others
    for label, reason in (
        ("raises", "RuntimeError"),
        ("muses", "took longer than routing_seconds, 2 s"),
        ("numbers", "TypeError"),
        ("exits", "RuntimeError"),
        ("ends", "RuntimeError"),
    ):
        assert said[label]["score"] == 0.9
        assert said[label]["explanation"] == {"kind": "text", "text": f"No explanation: {reason}"}
    assert "secret" not in json.dumps(said)


def test_only_so_many_at_once(start: Start, tmp_path: Path) -> None:
    served, release = fail(start, tmp_path, ["sleeps"], {"routing_seconds": 60, "concurrency": 2})
    connections = [http.client.HTTPConnection("127.0.0.1", served.port, timeout=60) for _ in range(2)]
    try:
        for connection in connections:
            connection.request("POST", "/playground/scores", b'{"prompt": "fail"}')
        deadline = time.monotonic() + 30
        while served.counted("fastroute_in_flight") < 2:
            assert time.monotonic() < deadline
        reply = served.ask("/playground/scores", {"prompt": "well"})
        assert (reply.status, reply.error()["code"]) == (503, "overloaded")
    finally:
        release.touch()
    for connection in connections:
        assert connection.getresponse().status == 200
        connection.close()


# A server that tells of each decision, of which none on a long prompt is quick.
TELLING = """
import asyncio, sys
from fastroute.serving.scoring import Scorer
from fastroute.cli import main
decide = Scorer.decide

async def told(self, prompt, threshold, patience):
    if len(prompt) > 16384:
        await asyncio.sleep(0.02)
    found = await decide(self, prompt, threshold, patience)
    print(f"decided {self.settings.label} on {len(prompt)}", file=sys.stderr, flush=True)
    return found

Scorer.decide = told
sys.exit(main(sys.argv[1:]))
"""


def test_a_long_prompt_is_asked_once(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(TELLING)
    routers = [{"label": label, **PAIR} for label in ("mf", "experts")]
    served = start(program=[sys.executable, str(script)], playground=True, routers=routers)
    long = "Prove it, please. " * 1000
    scores(served, long)
    scores(served, HARD)
    for label in ("mf", "experts"):
        served.wait_for_log(f"decided {label} on {len(HARD)}")
        assert sum(line == f"decided {label} on {len(long)}\n" for line in served.log) == 1


def test_the_hour_is_what_was_sent(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(playground=True, routers=[{"label": label, **PAIR} for label in ("mf", "experts")])
    router = fastroute.load("mf")
    prompts = [f"Prove theorem {n}." for n in range(20)] + [f"hi {n}" for n in range(20)]
    for prompt in prompts:
        served.chat("router-mf", prompt, stream=len(prompt) % 2 == 0)
    for _ in range(3):
        served.chat("small", "hi")
    for _ in range(2):
        served.ask("/v1/route", {"model": "router-experts", "messages": [{"role": "user", "content": HARD}]})
    found = hour(served)
    assert (found["bins"], found["default_router"]) == (1000, "mf")
    mf, experts = found["routers"]
    expected = [int(float(score) * 1000) for score in router.score(prompts)]
    assert {bin_: count for bin_, count in enumerate(mf["scores"]) if count} == {
        bin_: expected.count(bin_) for bin_ in expected
    }
    strong = sum(float(score) >= router.threshold for score in router.score(prompts))
    counts = {name: sum(values) for name, values in mf["requests"].items()}
    assert counts == {name: count for name, count in (("big", strong), ("small", 40 - strong)) if count}
    assert mf["seconds"]["count"] == 40
    assert 0 < mf["seconds"]["p50"] <= mf["seconds"]["p99"] < 1
    assert sum(mf["sticky"]) == sum(mf["failures"]) == sum(mf["fallbacks"]) == 0
    # prices of 10 and 30 against 1 and 1 for 1,000 and 100 tokens; streams say their usage too
    assert sum(mf["dollars"]) == pytest.approx((40 - strong) * (9 * 1000 + 29 * 100) / 1e6)
    assert sum(experts["scores"]) == 2
    assert {name: sum(values) for name, values in found["direct"].items()} == {"small": 3}
    assert found["models"]["small"]["count"] == 40 - strong + 3
    assert found["models"]["big"]["count"] == strong


def test_failures_fallbacks_and_sessions_are_counted(start: Start, upstream: ScriptedUpstream) -> None:
    served = start(playground=True, default_model="small")
    for _ in range(3):
        served.chat("router-mf", HARD, headers={"x-session-id": "s"})
    found = routed(served, "mf")
    assert (sum(found["sticky"]), sum(found["scores"]), found["seconds"]["count"]) == (2, 3, 1)
    served.chat("router-mf", [{"type": "image_url", "image_url": {"url": "data:,x"}}])
    assert sum(routed(served, "mf")["failures"]) == 1
    upstream.script["big"] = "status:500"
    assert served.chat("router-mf-0", HARD).headers["x-fastroute-model"] == "small"
    found = routed(served, "mf")
    assert sum(found["fallbacks"]) == 1
    assert sum(map(sum, found["requests"].values())) == 5


def test_what_is_tried_is_counted_nowhere(open_one: Served) -> None:
    before, metrics = hour(open_one), open_one.ask("/metrics").body
    for _ in range(5):
        scores(open_one, HARD)
    assert hour(open_one) == before
    assert open_one.ask("/playground/scores", {}).status == 400

    def counts(text: bytes) -> dict[str, float]:
        lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines if not re.search("_created|fastroute_loop_delay", name)}

    # a refusal is an answer as any other, and so are the metrics that were asked for first; no other figure moves
    expected = counts(metrics)
    for status in ("200", "400"):
        name = f'fastroute_answers_total{{status="{status}"}}'
        expected[name] = expected.get(name, 0) + 1
    assert counts(open_one.ask("/metrics").body) == expected


def test_a_reload_adds_and_removes(start: Start, upstream: ScriptedUpstream) -> None:
    def config(labels: list[str], **changes: Any) -> dict[str, Any]:
        return configuration(
            upstream, reload={"seconds": 0}, routers=[{"label": label, **PAIR} for label in labels], **changes
        )

    served = start(
        reload={"seconds": 0}, playground=True, routers=[{"label": label, **PAIR} for label in ("mf", "experts")]
    )

    def reload(value: dict[str, Any]) -> None:
        done = served.counted('fastroute_reloads_total{result="done"}')
        served.path.write_text(json.dumps(value))
        os.kill(served.process.pid, signal.SIGHUP)
        for _ in range(500):
            if served.counted('fastroute_reloads_total{result="done"}') > done:
                return
        raise AssertionError(served.log)

    for label in ("mf", "experts"):
        served.chat(f"router-{label}")
    reload(config(["knn", "mf"], playground=True))
    found = {router["label"]: sum(router["scores"]) for router in hour(served)["routers"]}
    assert found == {"knn": 0, "mf": 1}
    assert list(scores(served, HARD)) == ["knn", "mf"]
    reload(config(["mf", "experts"], playground=True))
    assert sum(routed(served, "experts")["scores"]) == 0  # what was forgotten does not come back
    reload(config(["mf"]))
    assert served.ask("/").status == 404
    assert served.ask("/playground/hour").status == 404
    served.chat("router-mf")
    reload(config(["mf"], playground=True))
    assert served.ask("/").status == 200
    assert sum(routed(served, "mf")["scores"]) == 0  # nothing was recorded, and nothing kept, while it was off
