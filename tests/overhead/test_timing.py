"""Prompts of known length, and what is timed. No test here is on wall time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastroute
from fastroute.encoders import load_encoder
from fastroute.overhead import prompts_of, time_router
from fastroute.routers import RandomRouter

LENGTHS = (1, 2, 20, 95, 400, 5000)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_prompts_have_the_tokens_asked_for(tokens):
    tokenize = load_encoder("static-minilm-l6").tokenize
    prompts = prompts_of(tokens)
    assert len(prompts) == 10
    assert len(set(prompts)) == 10 or tokens < 3
    assert [len(tokenize(prompt)) for prompt in prompts] == [tokens] * 10
    assert prompts == prompts_of(tokens, tokenize)


def test_another_tokenizer_counts_by_its_own():
    assert [len(prompt) for prompt in prompts_of(50, list)] == pytest.approx([50] * 10, abs=4)


class Recorded(RandomRouter):
    def route(self, prompts, threshold=None, policy=None):
        self.asked.append((prompts, fastroute.info().threads))
        return super().route(prompts, threshold, policy)


@pytest.fixture
def recorded():
    router = Recorded()
    router.asked = []
    return router


@pytest.fixture
def three_threads():
    before = fastroute.info().threads
    fastroute.set_num_threads(3)
    yield
    fastroute.set_num_threads(before)


def test_what_is_timed_is_one_decision_of_one_prompt_on_one_thread(recorded, three_threads):
    timing = time_router(recorded, 20, seconds=1e-9)
    assert {threads for _, threads in recorded.asked} == {1}
    assert {prompt for prompt, _ in recorded.asked} == set(prompts_of(20))
    assert timing.calls == 20
    assert len(recorded.asked) == 20 + 10  # a round before
    assert fastroute.info().threads == 3
    assert (timing.tokens, timing.own_tokenizer) == (20, False)
    assert 0 < timing.median <= timing.p99


def test_threads_are_put_back_after_an_error(recorded, three_threads):
    recorded.asked = None
    with pytest.raises(AttributeError):
        time_router(recorded, 20, seconds=1e-9)
    assert fastroute.info().threads == 3


@pytest.mark.parametrize("name", [*fastroute.info().routers, "random"])
def test_every_built_in_router(name):
    router = fastroute.load(name)
    timing = time_router(router, 95, seconds=1e-9)
    assert timing.tokens == 95
    assert timing.own_tokenizer is (name != "random")
    assert np.isfinite([timing.median, timing.p99, timing.core]).all()


def test_processor_time_is_that_of_the_calls():
    """A router that sleeps takes time of nobody's core."""

    class Sleepy(RandomRouter):
        def route(self, prompts, threshold=None, policy=None):
            import time

            time.sleep(0.002)
            return super().route(prompts, threshold, policy)

    timing = time_router(Sleepy(), 20, seconds=1e-9)
    assert timing.core < 0.002 <= timing.median


def test_a_base_install_is_enough():
    extras = ["numba", "pyarrow", "tqdm", "tokenizers", "onnxruntime", "sklearn", "aiohttp", "faiss", "matplotlib"]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({extras})); from fastroute.cli import main; "
        "sys.exit(main(['bench', '--overhead', '--seconds', '1e-9', '--tokens', '20']))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = {line.split()[0] for line in ended.stdout.splitlines() if line and line.split()[1:2] == ["20"]}
    assert shown == {*fastroute.info().routers, "random"} - {"bert"}
    assert "not measured: bert: " in ended.stdout
    assert "pip install 'fastroute[bert]'" in ended.stdout
