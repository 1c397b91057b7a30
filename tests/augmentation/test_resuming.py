"""The journal: nothing is paid for twice, whatever happens to the process or the file."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply, ScriptedServer, completion

from fastroute.augmentation import Endpoint
from fastroute.augmentation.journal import Completion, open_journal, read_ledger, request_key
from fastroute.errors import DataError, FastrouteError

ANSWER = Completion("text", "stop", 5, 7)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def wait_until(happened, seconds=20.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def answers_in(journal):
    return journal.read_bytes().count(b'"event": "answer"') if journal.exists() else 0


def command(server, folder, *options):
    models = ["--strong", STRONG, "--strong-url", server.url, "--weak", WEAK, "--weak-url", server.url]
    judge = ["--judge", server.url, "--judge-model", JUDGE]
    prices = [f"--{role}-price-{way}=1000" for role in ("strong", "weak", "judge") for way in ("in", "out")]
    program = [sys.executable, "-m", "fastroute", "augment", folder.prompts, "-o", folder.labels]
    return [*program, "--yes", *models, *judge, *prices, *options]


def test_a_second_run_asks_nothing(server, folder, label):
    folder.write_prompts(3)
    first = label()
    written = {path.name: path.read_bytes() for path in folder.labels.iterdir()}
    second = label()
    assert (first.requests, second.requests, len(server.requests)) == (12, 0, 12)
    assert {path.name: path.read_bytes() for path in folder.labels.iterdir()} == written


def test_more_prompts_and_another_judge_reuse_the_answers(server, folder, label):
    folder.write_prompts(1)
    label()
    folder.write_prompts(2)
    label()
    assert len(server.requests) == 8
    label(judge=Endpoint(server.url, "judge-2"))
    assert len(server.of(STRONG)) == len(server.of(WEAK)) == 2
    assert len(server.of("judge-2")) == 4


@pytest.mark.parametrize("answers", [1, 5, 10, 17])
def test_after_kill_9_nothing_is_paid_for_twice(folder, answers):
    first, count, lock, arrived = ScriptedServer(), 6, threading.Lock(), itertools.count()

    def script(request, seen):
        with lock:
            return first.hold() if next(arrived) >= answers else None

    first.script = script
    folder.write_prompts(count)
    journal = folder.labels / "journal.jsonl"
    try:
        with subprocess.Popen(command(first, folder), stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: answers_in(journal) == answers)
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
    finally:
        first.close()
    assert not (folder.labels / "battles.jsonl").exists()
    under_way = read_ledger(journal).unconfirmed
    second = ScriptedServer(first.port)
    try:
        run = subprocess.run(command(second, folder, "--json"), capture_output=True, text=True, check=True)
    finally:
        second.close()
    summary = json.loads(run.stdout)
    assert (summary["judged"], summary["failed"], summary["left"]) == (count, 0, 0)
    assert first.answered.total() == answers
    assert set((first.answered + second.answered).values()) == {1}
    assert (first.answered + second.answered).total() == 4 * count
    assert summary["unconfirmed"] == under_way
    assert len(folder.rows("battles")) == 2 * count


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_at_once_and_the_next_run_goes_on(server, folder, signum, code):
    released = threading.Event()
    server.script = lambda request, seen: None if released.is_set() or len(server.requests) < 6 else server.hold()
    folder.write_prompts(3)
    journal = folder.labels / "journal.jsonl"
    with subprocess.Popen(command(server, folder, "-q"), stderr=subprocess.PIPE) as process:
        wait_until(lambda: answers_in(journal) == 5 and server.under_way)
        sent = time.monotonic()
        process.send_signal(signum)
        assert process.wait(10) == code
        assert time.monotonic() - sent < 5
        assert process.stderr is not None
        assert process.stderr.read().count(b"\n") == 1
    assert not (folder.labels / "battles.jsonl").exists()
    released.set()
    subprocess.run(command(server, folder, "-q"), check=True)
    assert set(server.answered.values()) == {1}
    assert len(folder.rows("battles")) == 6


def test_two_runs_on_one_folder(server, folder, label):
    server.script = lambda request, seen: server.hold() if not server.released.is_set() else None
    folder.write_answered(1)
    first = threading.Thread(target=lambda: label(asked=False))
    first.start()
    try:
        wait_until(lambda: server.under_way)
        with pytest.raises(FastrouteError, match=r"journal\.jsonl: another run is writing to it"):
            label(asked=False)
    finally:
        server.released.set()
        first.join()


def test_a_failing_disk_ends_the_run(server, folder, label, monkeypatch):
    folder.write_answered(5)
    synced = []

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FastrouteError, match=r"journal\.jsonl: can't be written: No space left"):
        label(asked=False)
    monkeypatch.undo()
    assert label(asked=False).judged == 5


@pytest.mark.parametrize("kept", ["whole", "torn"])
def test_a_write_that_failed_is_the_last(path, monkeypatch, kept):
    with open_journal(path) as journal:
        journal.start("k", 1.0)
        real = os.write

        def write(descriptor, line):
            if kept == "torn":
                real(descriptor, line[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", write)
        with pytest.raises(FastrouteError, match="No space left"):
            journal.answer("k", "judge", JUDGE, ANSWER, 0.5)
        monkeypatch.undo()
        with pytest.raises(FastrouteError, match="No space left"):
            journal.free("k")
    ledger = read_ledger(path)
    assert (ledger.answers, ledger.unconfirmed) == ({}, 1.0)


def test_what_a_journal_remembers(path):
    with open_journal(path) as journal:
        for key in ("answered", "refused", "lost", "lost"):
            journal.start(key, 2.0)
        journal.answer("answered", "judge", JUDGE, ANSWER, 0.5)
        journal.free("refused")
        mine = journal.ledger
    found = read_ledger(path)
    assert found == mine
    assert (found.answers, found.spent, found.unconfirmed) == ({"answered": ANSWER}, 0.5, 4.0)
    with open_journal(path) as journal:
        assert journal.ledger == found


def journal_bytes(path):
    with open_journal(path) as journal:
        for number in range(3):
            journal.start(f"k{number}", 2.0)
            journal.answer(f"k{number}", "judge", JUDGE, Completion("é\u2028\n", "stop", 1, None), 0.5)
    return path.read_bytes()


def test_a_journal_cut_at_every_length_goes_on(path):
    whole = journal_bytes(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = whole[:length].rpartition(b"\n")[0].count(b'"event": "answer"')
        assert len(read_ledger(path).answers) == kept
        with open_journal(path) as journal:
            assert len(journal.ledger.answers) == kept
            journal.start("more", 1.0)
            journal.answer("more", "judge", JUDGE, ANSWER, 0.25)
        assert len(read_ledger(path).answers) == kept + 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda raw: b'{"prompt": "mine"}\n' + raw, "expected a journal that begins with"),
        (lambda raw: b"my thesis", "expected a journal of fastroute augment, found something else"),
        (lambda raw: raw.replace(b'"version": 1', b'"version": 2', 1), "expected a journal that begins with"),
        (lambda raw: raw.replace(b'"start"', b'"begin"', 1), "line 2 is damaged"),
        (lambda raw: raw.replace(b'"dollars": 2.0', b'"dollars": NaN', 1), "line 2 is damaged"),
        (lambda raw: raw.replace(b'"dollars": 2.0', b'"dollars": -2.0', 1), "line 2 is damaged"),
        (lambda raw: raw.replace(b'"text": ', b'"text": 7, "was": ', 1), "line 3 is damaged: text: found int"),
        (lambda raw: raw.replace(b'"tokens_in": 1', b'"tokens_in": true', 1), "line 3 is damaged"),
        (lambda raw: raw.replace(b"{", b"[", 3).replace(b"[", b"{", 2), "line 3 is damaged"),
        (lambda raw: b"\n".join(raw.split(b"\n")[:1] + raw.split(b"\n")[2:]), "line 2 is damaged"),
        (lambda raw: raw + b"\xff\n", "line 8 is damaged"),
        (lambda raw: raw + b"\n", "line 8 is damaged"),
        (lambda raw: raw + b"[]\n", "line 8 is damaged"),
        (lambda raw: raw + b'{"event": "start", "key": [], "dollars": 1}\n', "line 8 is damaged"),
        (lambda raw: raw + b"[" * 100_000 + b"\n", "line 8 is damaged"),
    ],
)
def test_a_damaged_journal_is_refused_and_left_alone(path, damage, reason):
    damaged = damage(journal_bytes(path))
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=rf"journal\.jsonl: {reason}"):
        read_ledger(path)
    with pytest.raises(DataError, match=reason), open_journal(path):
        pass
    assert path.read_bytes() == damaged


def test_a_key_stands_for_endpoint_model_and_request():
    def key(url="https://host/v1", model="m", text="hi", **settings):
        endpoint = Endpoint(url, model)
        return request_key(endpoint, endpoint.body([{"role": "user", "content": text}], **settings))

    assert key() == key() == key(url="https://host/v1/")
    others = [key(url="https://host/v2"), key(model="n"), key(text="ho"), key(seed=1)]
    assert len({key(), *others}) == 5


def test_a_refused_request_is_no_answer(server, folder, label):
    server.script = lambda request, seen: Reply(b"", status=400)
    folder.write_prompts(1)
    label()
    assert answers_in(folder.labels / "journal.jsonl") == 0


def test_a_higher_number_of_reasks_asks_only_those(server, folder, label):
    server.script = lambda request, seen: completion("?") if len(request.body["messages"]) < 5 else None
    folder.write_answered(1)
    assert label(asked=False).failed == 1
    estimates = []
    confirm = lambda estimate: estimates.append(estimate) or True  # noqa: E731
    assert label(asked=False, limits={"reasks": 2}, confirm=confirm).judged == 1
    assert (estimates[0].requests, estimates[0].answered) == (2, 4)
    assert set(server.answered.values()) == {1}
