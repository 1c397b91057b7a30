"""CUDA: what is said where it is not there, and, with a session that plays its part, what is asked of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.bert_graph import random_tensors
from tests.reference.tiny_models import random_prompts, write_model

import fastroute
from fastroute.encoders import OnnxEncoder
from fastroute.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.onnx import devices
from fastroute.routers import BertRouter, CascadeRouter

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and not devices._driver_problem()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), random_tensors(labels=1, seed=21))


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make these the distributions that are installed."""

    def distribution(name: str) -> None:
        if name not in names:
            raise PackageNotFoundError(name)

    monkeypatch.setattr(devices, "distribution", distribution)


def available(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        (["onnxruntime"], r"runs on the CPU alone: pip uninstall onnxruntime, then pip install 'fastroute\[gpu\]'"),
        (["onnxruntime", "onnxruntime-gpu"], r"both installed, into one folder.*fastroute\[gpu\]"),
        ([], r"was built without CUDA: pip install 'fastroute\[gpu\]'"),
        (["onnxruntime-gpu"], "was built without CUDA"),
    ],
)
def test_wheels_that_are_missing(
    installed: list[str], says: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    available(monkeypatch, "AzureExecutionProvider", "CPUExecutionProvider")
    install(monkeypatch, *installed)
    router = BertRouter.from_folder(folder)
    for call in (lambda: router.to("cuda"), lambda: BertRouter.from_folder(folder, device="cuda")):
        with pytest.raises(MissingDependencyError, match=f"^device: found 'cuda', .*{says}"):
            call()
    assert router.device == "cpu"
    assert 0 <= router.score("why") <= 1


class CpuAlone:
    """A session that was asked for CUDA and is on the CPU, as ONNX Runtime leaves it where CUDA can't be had."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")


@pytest.mark.parametrize("session", [CpuAlone, broken])
@pytest.mark.parametrize(
    ("problem", "kind", "says"),
    [
        ("the CUDA driver sees no device", InvalidArgumentError, "allowed here: 'cpu'; the CUDA driver sees no device"),
        ("", MissingDependencyError, r"ONNX Runtime can't use it.*onnxruntime-gpu\[cuda,cudnn\]"),
    ],
)
def test_a_session_on_the_wrong_provider_is_an_error(
    session: Any, problem: str, kind: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    available(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr(devices, "_driver_problem", lambda: problem)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(kind, match=f"^device: found 'cuda', .*{says}"):
        BertRouter.from_folder(folder, device="cuda")


def test_the_driver_is_asked() -> None:
    assert isinstance(devices._driver_problem(), str)


class OnDevice:
    """An array that is said to be on a device."""

    def __init__(self, values: np.ndarray, device: str, number: int) -> None:
        self.values, self.device = values.copy(), (device, number)


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, OnDevice] = {}
        self.outputs: dict[str, tuple[str, int]] = {}
        self.results: list[np.ndarray] = []

    def bind_ortvalue_input(self, name: str, value: OnDevice) -> None:
        self.inputs[name] = value

    def bind_output(self, name: str, device: str, number: int) -> None:
        self.outputs[name] = (device, number)

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        return self.results


class PlaysCuda:
    """The real session on the CPU behind the interface of one on CUDA, with outputs in float16."""

    bindings: list[Binding]
    asked: dict[str, Any]
    real: Any

    def __init__(self, graph: bytes, options: Any, *, providers: list[str], **more: Any) -> None:
        type(self).asked, type(self).bindings = {"providers": providers, **more}, []
        self._session = type(self).real(graph, options, providers=["CPUExecutionProvider"])

    @classmethod
    def make(cls, graph: bytes, options: Any, *, providers: list[str], **more: Any) -> Any:
        made = cls if "CUDAExecutionProvider" in providers else cls.real
        return made(graph, options, providers=providers, **more)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding) -> None:
        self.bindings.append(binding)
        feeds = {name: value.values for name, value in binding.inputs.items()}
        binding.results = [each.astype(np.float16) for each in self._session.run(list(binding.outputs), feeds)]


@pytest.fixture
def plays_cuda(monkeypatch: pytest.MonkeyPatch) -> type[PlaysCuda]:
    available(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    PlaysCuda.real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", PlaysCuda.make)
    place = type("OrtValue", (), {"ortvalue_from_numpy": staticmethod(OnDevice)})
    monkeypatch.setattr(onnxruntime, "OrtValue", place)
    return PlaysCuda


def test_tensors_stay_on_the_device(plays_cuda: type[PlaysCuda], folder: Path) -> None:
    on_cpu = BertRouter.from_folder(folder)
    router = on_cpu.to("cuda")
    assert (router.device, on_cpu.device) == ("cuda", "cpu")
    assert plays_cuda.asked["providers"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert plays_cuda.asked["enable_fallback"] == 0
    plays_cuda.bindings.clear()
    prompts = random_prompts(100, seed=6)
    scores = router.score(prompts)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, on_cpu.score(prompts), atol=2e-3)
    assert len(plays_cuda.bindings) == 1  # a GPU is busy only with many
    (binding,) = plays_cuda.bindings
    assert set(binding.inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert {value.device for value in binding.inputs.values()} == {("cuda", 0)}
    assert binding.outputs == {"logits": ("cuda", 0)}
    assert router.to("cuda") is router
    assert router.with_threshold(0.2).device == "cuda"


def test_encoders_and_loading(plays_cuda: type[PlaysCuda], tmp_path: Path, folder: Path) -> None:
    encoder = OnnxEncoder.from_folder(write_model(tmp_path / "text"), device="cuda")
    assert encoder.device == "cuda"
    np.testing.assert_allclose(encoder.embed(["why"]), encoder.to("cpu").embed(["why"]), atol=5e-3)
    BertRouter.from_folder(folder).save(tmp_path / "router")
    assert fastroute.load(tmp_path / "router", device="cuda").device == "cuda"  # type: ignore[attr-defined]
    assert fastroute.load(tmp_path / "router", device="cpu").device == "cpu"  # type: ignore[attr-defined]


def test_a_graph_quantised_for_the_cpu_is_refused(tmp_path: Path, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantised = write_model(tmp_path, random_tensors(labels=1))
    quantize_dynamic(folder / "model.onnx", quantised / "model.onnx", weight_type=QuantType.QInt8)
    with pytest.raises(InvalidArgumentError, match=r"^device: found 'cuda', but .* is quantised for a CPU"):
        BertRouter.from_folder(quantised).to("cuda")


def test_a_cascade_moves_those_that_can_be(plays_cuda: type[PlaysCuda], folder: Path, tmp_path: Path) -> None:
    assert plays_cuda.real is not None
    bert = BertRouter.from_folder(folder, "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
    prompts = random_prompts(200, seed=6)
    CascadeRouter(fastroute.load("mf"), bert).calibrate(prompts).save(tmp_path / "cascade")
    on_cpu = fastroute.load(tmp_path / "cascade")
    moved = fastroute.load(tmp_path / "cascade", device="cuda")
    assert isinstance(on_cpu, CascadeRouter)
    assert isinstance(moved, CascadeRouter)
    assert (moved.second.device, on_cpu.second.device) == ("cuda", "cpu")  # type: ignore[attr-defined]
    assert moved.first.kind == "mf"
    np.testing.assert_allclose(moved.score(prompts), on_cpu.score(prompts), atol=2e-3)
    assert moved.to("cuda") is moved
    assert on_cpu.to("cpu") is on_cpu
    assert moved.to("cpu").second.device == "cpu"  # type: ignore[attr-defined]
    outer = CascadeRouter(on_cpu, fastroute.load("experts")).to("cuda")
    assert outer.first.second.device == "cuda"  # type: ignore[attr-defined]


def test_a_cascade_says_which_router_refuses(plays_cuda: type[PlaysCuda], tmp_path: Path, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    assert plays_cuda.real is not None
    pair = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
    quantised = write_model(tmp_path, random_tensors(labels=1))
    quantize_dynamic(folder / "model.onnx", quantised / "model.onnx", weight_type=QuantType.QInt8)
    cascade = CascadeRouter(fastroute.load("mf"), BertRouter.from_folder(quantised, *pair))
    with pytest.raises(InvalidArgumentError, match=r"is quantised for a CPU.* \(second, the cascade's router of kind"):
        cascade.to("cuda")
    with pytest.raises(InvalidArgumentError, match=r"^device: found 'cuda', allowed for a cascade of 'mf' and 'ex"):
        CascadeRouter(fastroute.load("mf"), fastroute.load("experts")).to("cuda")
    with pytest.raises(InvalidArgumentError, match=r"^device: found 'tpu'"):
        cascade.to("tpu")


@pytest.mark.parametrize("bad", [None, 0, b"cpu", ["cuda"]])
def test_devices_of_another_type(bad: Any, folder: Path) -> None:
    with pytest.raises(InvalidTypeError, match=r"^device: found .*, allowed: 'cpu' or 'cuda'"):
        BertRouter.from_folder(folder).to(bad)


@pytest.mark.parametrize("bad", ["", "gpu", "CUDA", "cuda:0", "mps", "x" * 1000])
def test_devices_that_are_none(bad: str, folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^device: found .*, allowed: 'cpu' or 'cuda'") as caught:
        BertRouter.from_folder(folder).to(bad)
    assert len(str(caught.value)) < 200


def test_routers_of_the_core_have_no_device() -> None:
    assert fastroute.load("mf", device="cpu").kind == "mf"
    with pytest.raises(InvalidArgumentError, match=r"^device: found 'cuda', allowed for this router of kind 'mf'"):
        fastroute.load("mf", device="cuda")
    with pytest.raises(InvalidTypeError, match=r"^device: found int"):
        fastroute.load("mf", device=0)  # type: ignore[arg-type]


@pytest.mark.skipif(not HAS_CUDA, reason="needs onnxruntime-gpu and a CUDA device")
def test_scores_on_a_real_device(folder: Path) -> None:
    on_cpu = BertRouter.from_folder(folder)
    prompts = random_prompts(500, seed=6)
    np.testing.assert_allclose(on_cpu.to("cuda").score(prompts), on_cpu.score(prompts), atol=1e-3)
