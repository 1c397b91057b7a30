"""Forks and Ctrl-C while native threads are at work (scorecard 20, 21)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

FORKS = """
    import os, signal, sys, threading, warnings
    import numpy as np
    import fastroute

    warnings.simplefilter("ignore")  # newer Pythons warn of any fork with threads
    router = fastroute.load(sys.argv[1])
    fastroute.set_num_threads(4)
    texts = [f"prove that {n}" for n in range(1000)]
    rows = np.tile(router.encoder.embed(texts), (10, 1))
    expected = router.score(texts)
    from_rows = router.score_embeddings(rows)

    stop = threading.Event()

    def work():
        while not stop.is_set():
            router.score(texts)
            router.score_embeddings(rows)

    busy = [threading.Thread(target=work) for _ in range(BUSY)]
    for thread in busy:
        thread.start()
    for n in range(100):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a hang ends in SIGALRM
            same = (router.score(texts) == expected).all() and (router.score_embeddings(rows) == from_rows).all()
            os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"child {n}: status {status}"
    stop.set()
    for thread in busy:
        thread.join()
    assert (router.score(texts) == expected).all()
    print("100 children")
"""


@pytest.mark.parametrize("busy", [0, 2], ids=["between batches", "while other threads score"])
def test_children_of_fork_score(run_script: Run, busy: int) -> None:
    ended = run_script(FORKS.replace("BUSY", str(busy)))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "100 children\n"


INTERRUPTED = """
    import sys
    import fastroute
    router = fastroute.load(sys.argv[1])
    before = router.score("prove that")
    prompts = ["a" * 20_000] * 2_000_000
    print("ready", flush=True)
    try:
        CALL
    except KeyboardInterrupt:
        assert router.score("prove that") == before
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("call", ["router.score(prompts)", "router.encoder.embed(prompts)", "router.route(prompts)"])
def test_ctrl_c_ends_a_batch(tiny_router_folder: Path, call: str) -> None:
    """It would take 20 s and more; slices end every few milliseconds, and 5 s are for slow machines."""
    code = "\n".join(line[4:] for line in INTERRUPTED.replace("CALL", call).splitlines())
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_router_folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            seconds = time.monotonic() - start
        finally:
            process.kill()
    assert out == "interrupted\n", err
    assert process.returncode == 0
    print(f"{call}: {seconds * 1000:.0f} ms from the signal to the end of the process")
    assert seconds < 5


def test_more_threads_than_the_system_gives(run_script: Run) -> None:
    """A batch does with the threads that there are."""
    script = """
        import resource, sys
        import fastroute
        router = fastroute.load(sys.argv[1])
        texts = ["prove that"] * 100_000
        expected = router.score(texts[:1])[0]
        # Room for a few stacks of 8 MiB only
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (120 << 20), resource.RLIM_INFINITY))
        fastroute.set_num_threads(1024)
        assert (router.score(texts) == expected).all()
        print(fastroute.info().threads)
    """
    if not Path("/proc/self/statm").exists() or "LD_PRELOAD" in os.environ:
        pytest.skip("needs /proc, and address space that no sanitizer has reserved")
    ended = run_script(script)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "1024\n"
