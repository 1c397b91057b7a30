"""Sessions: shared, of as many threads as fastroute has, made again after a fork, and silent on the network."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.reference.bert_graph import random_tensors
from tests.reference.decoder_graph import AFTER, BEFORE, write_decoder
from tests.reference.tiny_models import random_prompts, write_model

import fastroute
from fastroute.encoders import OnnxEncoder, load_encoder
from fastroute.errors import ArtifactCorruptError, MissingDependencyError
from fastroute.onnx import session
from fastroute.routers import BertRouter, CausalLlmRouter

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routers")
    BertRouter.from_folder(write_model(folder / "model", random_tensors(labels=1, seed=11))).save(folder / "router")
    OnnxEncoder.from_folder(write_model(folder / "text", random_tensors(seed=12))).save(folder / "encoder")
    return folder


class Made:
    """Sessions of ONNX Runtime that were made, with their options."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: list[dict[str, object]] = []
        real = onnxruntime.InferenceSession

        def make(graph: bytes, options: object, **more: object) -> object:
            assert isinstance(graph, bytes)
            self.options.append({"options": options, **more})
            return real(graph, options, **more)

        monkeypatch.setattr(onnxruntime, "InferenceSession", make)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    gc.collect()
    return Made(monkeypatch)


def test_one_session_for_a_router_loaded_twice(saved: Path, made: Made) -> None:
    routers = [fastroute.load(saved / "router") for _ in range(3)]
    encoders = [load_encoder(saved / "encoder") for _ in range(3)]
    assert len(made.options) == 2
    assert len({router.score("why") for router in routers}) == 1
    assert len({encoder.embed(["why"]).tobytes() for encoder in encoders}) == 1
    assert len(made.options) == 2
    before = len(session._sessions)
    del routers, encoders
    gc.collect()
    assert len(session._sessions) == before - 2


def test_options_are_explicit(saved: Path, made: Made) -> None:
    router = fastroute.load(saved / "router")
    (each,) = made.options
    options = each["options"]
    assert options.intra_op_num_threads == fastroute.info().threads  # type: ignore[attr-defined]
    assert options.inter_op_num_threads == 1  # type: ignore[attr-defined]
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"  # type: ignore[attr-defined]
    assert options.get_session_config_entry("session.load_model_format") == "ONNX"  # type: ignore[attr-defined]
    assert each["providers"] == ["CPUExecutionProvider"]
    assert each["enable_fallback"] == 0
    assert each["read_config_from_model"] == 0
    assert router.device == "cpu"  # type: ignore[attr-defined]


def test_threads_are_those_of_fastroute_at_the_call(saved: Path, made: Made) -> None:
    before = fastroute.info().threads
    router = fastroute.load(saved / "router")
    expected = router.score(["why", "the sum"])
    try:
        fastroute.set_num_threads(before + 1)
        np.testing.assert_allclose(router.score(["why", "the sum"]), expected, atol=1e-6)
        router.score("why")
    finally:
        fastroute.set_num_threads(before)
    np.testing.assert_allclose(router.score(["why", "the sum"]), expected, atol=1e-6)
    threads = [each["options"].intra_op_num_threads for each in made.options]  # type: ignore[attr-defined]
    assert threads == [before, before + 1, before]


def test_several_threads_load_and_score(saved: Path, made: Made) -> None:
    prompts = random_prompts(40, seed=5)
    expected = fastroute.load(saved / "router").score(prompts)
    barrier = threading.Barrier(8)

    def work(_: int) -> np.ndarray:
        barrier.wait()
        return fastroute.load(saved / "router").score(prompts)

    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(work, range(8)):
            np.testing.assert_allclose(scores, expected, atol=1e-6)


def run(code: str, *arguments: str, **environment: str) -> str:

    cleared = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=cleared | environment,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


FORKS = """
import gc, os, sys
import fastroute
fastroute.set_num_threads(2)
router = fastroute.load(sys.argv[1])
expected = router.score(["why", "the sum is 2"])
for child in range(100):
    pid = os.fork()
    if pid == 0:
        same = abs(router.score(["why", "the sum is 2"]) - expected).max() < 1e-6
        if child % 2:
            del router
            gc.collect()
        sys.exit(0 if same else 3)
    assert os.waitpid(pid, 0)[1] == 0, child
assert (router.score(["why", "the sum is 2"]) == expected).all()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_children_of_a_fork_score_and_end(saved: Path) -> None:
    """A session's threads are not there in a child: to run it, or to end it, would wait for ever."""
    assert run(FORKS, str(saved / "router")).endswith("done\n")


SILENT = """
import os, sys
import fastroute
router = fastroute.load(sys.argv[1])
print(os.environ.get("ORT_DISABLE_TELEMETRY"), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_nothing_is_sent_over_the_network(saved: Path) -> None:
    """ONNX Runtime since 1.29 sends telemetry from a thread of its own. The environment is as it was afterwards."""
    assert run(SILENT, str(saved / "router"), FASTROUTE_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1").split() == [
        "None",
        "1",
    ]


def test_the_choice_is_the_users(saved: Path) -> None:
    found = run(SILENT, str(saved / "router"), FASTROUTE_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1")
    assert found.split()[0] == "1"


def test_copies_through_pickle_share_the_session(saved: Path, made: Made) -> None:

    encoder = load_encoder(saved / "encoder")
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.embed(["why"]), encoder.embed(["why"]))
    assert len(made.options) == 1


def test_a_runtime_that_is_too_old_for_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_decoder(tmp_path / "decoder")
    router = CausalLlmRouter.from_folder(folder, "large", "small", template=(BEFORE, AFTER))
    router.save(tmp_path / "router")
    del router

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("matmul_nbits.cc:114 MatMulNBits<T1>::MatMulNBits nbits_ == 4 was false")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    monkeypatch.setattr(onnxruntime, "__version__", "1.21.1")
    with pytest.raises(MissingDependencyError, match=r"onnxruntime 1\.21\.1 doesn't run; 1\.22 or later is needed"):
        fastroute.load(tmp_path / "router")
    monkeypatch.setattr(onnxruntime, "__version__", "1.22.0")
    with pytest.raises(ArtifactCorruptError, match="can't load it"):
        fastroute.load(tmp_path / "router")
