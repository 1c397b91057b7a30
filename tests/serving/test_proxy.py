"""What goes through the proxy, and what it decides."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.serving.conftest import HARD, Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

import fastroute


def test_the_router_decides_and_says_so(served: Served, upstream: ScriptedUpstream) -> None:
    router = fastroute.load("mf")
    for prompt in (HARD, "Hi!"):
        score = router.score(prompt)
        reply = served.chat("auto", prompt)
        assert reply.status == 200
        assert reply.headers["x-fastroute-model"] == ("big" if score >= 0.5 else "small")
        assert float(reply.headers["x-fastroute-score"]) == pytest.approx(score, abs=1e-6)
        assert reply.headers["x-fastroute-router"] == "mf"
        assert reply.headers["x-fastroute-threshold"] == "0.5"
        assert reply.headers["x-request-id"] == "up-1"
        assert "set-cookie" not in reply.headers
        assert upstream.received[-1].path == f"/{reply.headers['x-fastroute-model']}/v1/chat/completions"


@pytest.mark.parametrize(
    ("model", "chosen"),
    [
        ("router-mf-0", "big"),
        ("router-mf-1.0", "small"),
        ("big", "big"),
        ("small", "small"),
        ("router-random-0", "big"),
    ],
)
def test_names_of_models(served: Served, upstream: ScriptedUpstream, model: str, chosen: str) -> None:
    reply = served.chat(model)
    assert reply.status == 200
    assert reply.headers["x-fastroute-model"] == chosen
    assert ("x-fastroute-score" in reply.headers) == model.startswith("router-")
    assert json.loads(upstream.received[-1].body)["model"] == {"big": "vendor/big-1", "small": "small"}[chosen]


@pytest.mark.parametrize("model", ["gpt-9", "router-none-0.5", "router-mf-2", "router-", "AUTO", "http://127.0.0.1/"])
def test_unknown_models(served: Served, upstream: ScriptedUpstream, model: str) -> None:
    reply = served.chat(model)
    assert reply.status == 404
    assert reply.error()["code"] == "model_not_found"
    assert reply.error()["param"] == "model"
    assert not upstream.received


BODIES = [
    rb'{"model":"MODEL","messages":[{"role":"user","content":"hi"}]}',
    b' {\n\t"messages" : [ {"role":"user","content":"hi"} ] , "model" :\r\n "MODEL" , "x": 1.50e+0 }  \n',
    rb'{"model":"MODEL","messages":[{"role":"user","content":"hi"}],"seed":123456789012345678901234567890}',
    rb'{"model":"MODEL","messages":[{"role":"user","content":"hi"}],"x":1e999,"y":-0,"z":1.000000000000000000000001}',
    rb'{"model":"MODEL","messages":[{"role":"user","content":"hi"}],"x":1,"x":2,"X":{"model":"other"}}',
    rb'{"model":"MODEL","messages":[{"role":"user","content":"\ud800 \u006dodel \"model\": \\"}]}',
    rb'{"x":"\"model\":\"no\"","a":["model",{"model":["model"]}],"model":"MODEL","messages":[{"role":"user","content":"hi"}]}',
    rb'{"model":"MODEL","messages":[{"role":"user","content":"hi"}],"model":"MODEL"}',
    rb'{"model":7,"messages":[{"role":"user","content":"hi"}],"model":"MODEL"}',
    rb'{"model":{"model":["}"]},"messages":[{"role":"user","content":"hi"}],"model":"MODEL"}',
    rb'{"mod\u0065l":"MODEL","messages":[{"role":"user","content":"hi"}]}',
    '{"model":"MODEL","messages":[{"role":"user","content":"żółw 🐢 \u2028"}],"ключ":"знач"}'.encode(),
    b'{"model":"MODEL","messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url",'
    b'"image_url":{"url":"data:image/png;base64,' + b"iVBORw0KGgo/+" * 20_000 + b'"}}]}]}',
    rb'{"model":"MODEL","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":'
    rb'{"model":{"type":"string"}}}}}],"tool_choice":"auto","messages":[{"role":"user","content":"hi"},{"role":"assistant",'
    rb'"content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"model\":1}"}}]},'
    rb'{"role":"tool","tool_call_id":"1","content":"2"}],"response_format":{"type":"json_schema","json_schema":{"strict":true}}}',
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("model", "sent"), [("router-mf-0", "vendor/big-1"), ("small", "small")])
def test_gate_26_bodies_arrive_byte_for_byte(
    served: Served, upstream: ScriptedUpstream, body: bytes, model: str, sent: str
) -> None:
    reply = served.ask(body=body.replace(b"MODEL", model.encode()))
    assert reply.status == 200, reply.body
    expected = body.replace(b"MODEL", sent.encode())
    # Whatever comes first or last, each parser upstream finds the model that was chosen.
    for other in (rb'{"model":7', rb'{"model":{"model":["}"]}'):
        if body.startswith(other):
            expected = expected.replace(other, b'{"model":"%s"' % sent.encode(), 1)
    assert upstream.received[-1].body == expected


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_other_endpoints_pass_through(served: Served, upstream: ScriptedUpstream, path: str) -> None:
    body = {"model": "small", "prompt": "x", "input": ["a", "b"], "unknown": [1]}
    assert served.ask(path, body).status == 200
    assert upstream.received[-1].path == f"/small{path}"
    assert json.loads(upstream.received[-1].body) == body


def test_completions_are_routed_and_embeddings_are_not(served: Served, upstream: ScriptedUpstream) -> None:
    reply = served.ask("/v1/completions", {"model": "router-mf-0", "prompt": ["Prove", "it"]})
    assert reply.headers["x-fastroute-model"] == "big"
    reply = served.ask("/v1/embeddings", {"model": "router-mf-0", "input": "x"})
    assert reply.status == 400
    assert reply.error()["param"] == "model"


def test_streams_arrive_unchanged(served: Served, upstream: ScriptedUpstream) -> None:
    reply = served.chat("auto", stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-fastroute-router"] == "mf"
    assert reply.body.count(b"data: ") == 7
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_a_decision_alone(served: Served, upstream: ScriptedUpstream) -> None:
    messages = [{"role": "user", "content": HARD}]
    found = served.ask("/v1/route", {"messages": messages}).json
    assert found["score"] == pytest.approx(fastroute.load("mf").score(HARD), abs=1e-6)
    assert found["model"] == ("big" if found["score"] >= 0.5 else "small")
    assert (found["router"], found["threshold"]) == ("mf", 0.5)
    assert found["artifact"] == fastroute.load("mf").artifact
    assert served.ask("/v1/route", {"model": "router-mf-0.0", "messages": messages}).json["model"] == "big"
    assert not upstream.received


def test_lists_and_probes(served: Served) -> None:
    listed = served.ask("/v1/models").json
    assert [each["id"] for each in listed["data"]] == ["auto", "router-mf", "router-random", "big", "small"]
    assert served.ask("/v1/models/big").json["id"] == "big"
    assert served.ask("/v1/models/none").status == 404
    assert served.ask("/health").json == {"status": "ok"}
    assert served.ask("/ready").json == {"status": "ready"}
    assert served.ask("/nothing").error()["code"] == "not_found"
    assert served.ask("/health", b"{}", method="POST").status == 405


@pytest.mark.parametrize("stream", [False, True])
def test_metrics_count_requests_scores_and_dollars(served: Served, upstream: ScriptedUpstream, stream: bool) -> None:
    names = (
        'fastroute_requests_total{model="small",router="mf"}',
        'fastroute_score_count{router="mf"}',
        'fastroute_routing_seconds_count{router="mf"}',
        'fastroute_upstream_seconds_count{model="small"}',
    )
    before = [served.counted(name) for name in names]
    saved = served.counted('fastroute_saved_dollars_total{router="mf"}')
    served.chat("router-mf-1", stream=stream)
    assert [served.counted(name) for name in names] == [each + 1 for each in before]
    dollars = (1000 * (10 - 1) + 100 * (30 - 1)) / 1e6
    assert served.counted('fastroute_saved_dollars_total{router="mf"}') - saved == pytest.approx(dollars)
    served.chat("small", stream=stream)  # nothing is saved where the client chose
    assert served.counted('fastroute_saved_dollars_total{router="mf"}') - saved == pytest.approx(dollars)


def test_a_router_beside_the_loop(start: Start, upstream: ScriptedUpstream) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
    pytest.importorskip("tokenizers", reason="needs the extra [bert]")
    served = start(routers=[{"label": "bert", "strong": "big", "weak": "small"}])
    router = fastroute.load("bert")
    with ThreadPoolExecutor(8) as clients:
        prompts = [f"{HARD} {number}" for number in range(16)]
        found = list(clients.map(lambda prompt: ask_alone(served, prompt), prompts))
    expected = router.score(prompts)
    assert [float(each["x-fastroute-score"]) for each in found] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [each["x-fastroute-model"] for each in found] == [
        "big" if score >= router.threshold else "small" for score in expected
    ]


def ask_alone(served: Served, prompt: str) -> dict[str, str]:
    """Ask over a connection of its own; return the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": prompt}]})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 200
    return {name.lower(): value for name, value in response.getheaders()}
