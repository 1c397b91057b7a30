"""Everything that an endpoint can do but answer: each ends in another try or in a recorded failure."""

from __future__ import annotations

import email.utils
import gzip
import json
import socket
import time

import pytest
from tests.augmentation.scripted_server import JUDGE, Reply, completion, verdict

from fastroute.augmentation import Endpoint
from fastroute.endpoints.exchange import MAX_RESPONSE_BYTES


def first_time(reply):
    """Send this in answer to each request when it comes first."""
    return lambda request, seen: reply() if seen == 0 else None


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_another_try_after_a_passing_fault(server, folder, label, status):
    server.script = first_time(lambda: Reply(b"busy", status=status))
    folder.write_answered(2)
    summary = label(asked=False)
    assert (summary.judged, summary.failed, summary.requests) == (2, 0, 8)
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_no_other_try_after_a_refusal(server, folder, label, status):
    server.script = lambda request, seen: Reply(b'{"error": {"message": "no"}}', status=status)
    folder.write_answered(1)
    summary = label(asked=False)
    assert (summary.judged, summary.failed, summary.requests) == (0, 1, 2)
    assert {f["reason"] for f in folder.rows("failures")} == {f"status {status}: no"}


def test_a_failure_that_passes_is_gone_after_the_next_run(server, folder, label):
    server.script = lambda request, seen: Reply(b"no", status=400)
    folder.write_answered(1)
    assert label(asked=False).failed == 1
    server.script = lambda request, seen: None
    assert label(asked=False).judged == 1
    assert folder.rows("failures") == []


def test_tries_are_bounded_and_counted(server, folder, label):
    server.script = lambda request, seen: Reply(b"", status=500)
    folder.write_answered(1)
    summary = label(asked=False, limits={"tries": 3})
    assert (summary.requests, len(server.requests)) == (6, 6)
    assert summary.first_failure == "status 500: (no text) (tried 3 times)"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_by_every_request_to_that_model(server, folder, label, form):
    def script(request, seen):
        if len(server.requests) > 1:
            return None
        # A date has whole seconds, so two from now are at least one.
        after = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
        return Reply(b"", 429, {"Retry-After": after})

    server.script = script
    folder.write_answered(2)
    assert label(asked=False, limits={"concurrency": 1}).judged == 2
    assert server.requests[1].at - server.requests[0].at >= 0.9


def test_a_very_long_retry_after_is_a_failure(server, folder, label):
    server.script = lambda request, seen: Reply(b"quota", 429, {"Retry-After": "86400"})
    folder.write_answered(1)
    assert label(asked=False).first_failure == "status 429: quota"


@pytest.mark.parametrize("after", ["soon", "-5", "nan", "Sun, 99 Foo", ""])
def test_a_senseless_retry_after_is_as_none(server, folder, label, after):
    server.script = first_time(lambda: Reply(b"", 429, {"Retry-After": after}))
    folder.write_answered(1)
    assert label(asked=False).judged == 1


def test_a_connection_cut_in_the_middle_of_a_body(server, folder, label):
    def cut():
        reply = completion("x" * 1000)
        reply.cut = 500
        return reply

    server.script = first_time(cut)
    folder.write_answered(1)
    summary = label(asked=False, judge=Endpoint(server.url, JUDGE, price_in=1, price_out=1))
    assert (summary.judged, summary.requests) == (1, 4)
    assert summary.unconfirmed > 0  # it may have been billed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": "x"}, "logprob": NaN}]}',
        b'{"choices": [{"message": {"content": "x"}, "logprob": -Infinity}]}',
        b"[" * 100_000,
        b'{"choices": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_completion(server, folder, label, body):
    server.script = first_time(lambda: Reply(body))
    folder.write_answered(1)
    summary = label(asked=False)
    assert (summary.judged, summary.requests) == (1, 4)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 1.5, "completion_tokens": 5},
        {"prompt_tokens": 10**30, "completion_tokens": 5},
    ],
)
def test_usage_that_says_nothing_counts_as_the_worst_case(server, folder, label, usage):
    server.script = lambda request, seen: completion(verdict("tie", 5, 5), tokens=None, usage=usage)
    folder.write_answered(1)
    judge = Endpoint(server.url, JUDGE, price_in=0, price_out=1e6, max_tokens=50)
    summary = label(asked=False, judge=judge)
    assert (summary.judged, summary.dollars) == (1, 100.0)  # two answers of 50 tokens at a dollar each


def test_an_answer_that_is_too_long(server, folder, label):
    server.script = lambda request, seen: Reply(b" " * (MAX_RESPONSE_BYTES + 1))
    folder.write_answered(1)
    summary = label(asked=False)
    assert (summary.requests, summary.first_failure) == (2, "the answer is longer than 8 MiB")


def test_a_compressed_answer_is_not_unpacked(server, folder, label):
    def script(request, seen):
        assert request.headers["Accept-Encoding"] == "identity"
        return Reply(gzip.compress(completion(verdict("A", 9, 1)).body), headers={"Content-Encoding": "gzip"})

    server.script = script
    folder.write_answered(1)
    assert label(asked=False).first_failure == "the answer is compressed, which was not asked for"


def test_no_answer_in_time(server, folder, label):
    server.script = lambda request, seen: server.hold() if seen == 0 else None
    folder.write_answered(1)
    assert label(asked=False, limits={"timeout": 0.2, "tries": 1}).first_failure == "no answer in time"
    summary = label(asked=False, limits={"timeout": 0.2})
    assert (summary.judged, summary.requests) == (1, 2)


def test_nobody_listens(folder, label):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        judge = Endpoint(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", JUDGE, price_in=1, price_out=1)
        folder.write_answered(1)
        summary = label(asked=False, judge=judge, limits={"tries": 2})
    assert summary.first_failure.startswith("no connection: ")
    assert summary.first_failure.endswith("(tried 2 times)")
    assert summary.spent == 0  # nobody can have billed it


def test_an_endpoint_that_speaks_no_tls(server, folder, label):
    folder.write_answered(1)
    judge = Endpoint(server.url.replace("http:", "https:"), JUDGE)
    assert label(asked=False, judge=judge, limits={"tries": 1}).failed == 1


def test_a_run_of_failures_stops_the_run(server, folder, label):
    server.script = lambda request, seen: Reply(b"invalid key", status=401)
    folder.write_answered(50)
    summary = label(asked=False, limits={"concurrency": 2, "failures_in_a_row": 4})
    assert len(server.requests) <= 6
    assert summary.stopped == "4 requests in a row failed, the last one with: status 401: invalid key"
    assert summary.left > 40
    assert summary.failed + summary.left == 50


def test_what_waits_when_the_run_stops_is_not_sent(server, folder, label):
    server.script = lambda request, seen: Reply(b"", status=400)
    folder.write_answered(2)
    summary = label(asked=False, limits={"concurrency": 1, "failures_in_a_row": 1})
    assert (len(server.requests), summary.left) == (1, 2)


def test_failures_in_between_do_not_stop_it(server, folder, label):
    server.script = lambda request, seen: Reply(b"", status=400) if len(server.requests) % 2 else None
    folder.write_answered(10)
    summary = label(asked=False, limits={"concurrency": 1, "failures_in_a_row": 3})
    assert (summary.failed, summary.stopped) == (10, None)


def test_halves_of_surrogate_pairs_are_replaced(server, folder, label):
    body = json.dumps({"choices": [{"message": {"content": "\ud83d"}}]}).encode()
    server.script = lambda request, seen: Reply(body)
    folder.write_answered(1)
    label(asked=False)
    assert folder.rows("failures")[0]["replies"] == ["\ufffd", "\ufffd"]
