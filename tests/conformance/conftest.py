"""Every kind of router and encoder, however it came about. A new one joins by a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.endpoints.text_models import DIM, SMALL, TextModels
from tests.reference.bert_graph import random_tensors
from tests.reference.decoder_graph import AFTER, BEFORE, write_decoder
from tests.reference.tiny_artifacts import MODELS, random_experts, random_weights, write_experts, write_router
from tests.reference.tiny_models import write_model

import fastroute
from fastroute.encoders import Encoder, OnnxEncoder, OpenAIEncoder, load_encoder
from fastroute.routers import (
    BertRouter,
    CascadeRouter,
    CausalLlmEndpointRouter,
    CausalLlmRouter,
    ExpertsRouter,
    KnnRouter,
    MatrixFactorizationRouter,
    RandomRouter,
    Router,
    SimilarityWeightedRouter,
)


class LengthEncoder:
    """A third party's encoder: an embedding says how long a prompt is."""

    name = "length"
    sha256 = "1e" * 32
    dim = 4

    def embed(self, prompts: list[str]) -> NDArray[np.float32]:
        lengths = np.array([len(prompt) for prompt in prompts], np.float32).reshape(-1, 1)
        return np.tile(1 / (1 + lengths), (1, self.dim)) * np.arange(1, self.dim + 1, dtype=np.float32)


class AngleEncoder(LengthEncoder):
    """Another one: an embedding says by its direction how long a prompt is."""

    name = "angle"

    def embed(self, prompts: list[str]) -> NDArray[np.float32]:
        angles = np.array([np.sqrt(len(prompt)) / 8 for prompt in prompts]).reshape(-1, 1)
        return np.cos(angles * np.arange(1, self.dim + 1)).astype(np.float32)


def battles() -> dict[str, list[str]]:
    """The large model wins on long prompts, the others on short ones."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[str]] = {"prompt": [], "model_a": [], "model_b": [], "winner": []}
    for i in range(300):
        long = bool(rng.integers(2))
        a, b = rng.permutation(MODELS[:3])[:2]
        winner = "model_a" if (a == "large") == long else "model_b"
        rows["prompt"].append(f"prove that {i} " + "is the sum " * (10 if long else 0))
        rows["model_a"].append(str(a))
        rows["model_b"].append(str(b))
        rows["winner"].append("tie" if i % 10 == 0 else winner)
    return rows


def fitted(encoder: Encoder) -> MatrixFactorizationRouter:
    pytest.importorskip("numba", reason="training needs the extra [train]")
    return MatrixFactorizationRouter("large", "small", encoder=encoder, rank=2, epochs=3).fit(battles())


def loaded_from_saved(encoder: Encoder, folder: Path) -> Router:
    fitted(encoder).save(folder)
    return fastroute.load(folder)


def loaded(folder: Path, encoder: Path) -> Router:
    tiny = load_encoder(encoder)
    write_router(folder, random_weights(16), encoder=tiny)
    return fastroute.load(folder)


def outcomes() -> dict[str, list[object]]:
    """The small model fails where a prompt is long."""
    rows: dict[str, list[object]] = {"prompt": [], "model": [], "score": []}
    for i in range(60):
        for model in ("large", "small"):
            rows["prompt"].append(f"prove that {i} " + "is the sum " * (10 if i % 2 else 0))
            rows["model"].append(model)
            rows["score"].append(float(model == "large" or i % 2 == 0))
    return rows


def fitted_experts(encoder: Encoder) -> ExpertsRouter:
    pytest.importorskip("sklearn", reason="training needs the extra [train]")
    return ExpertsRouter("large", "small", encoder=encoder).fit(outcomes())


def loaded_experts(folder: Path, encoder: Path, *, gold: bool = False) -> Router:
    weights = random_experts(16, gold=int(gold))
    write_experts(folder, weights, encoder=load_encoder(encoder), gold=("exam",) if gold else ())
    return fastroute.load(folder)


def saved_experts(encoder: Encoder, folder: Path) -> Router:
    fitted_experts(encoder).save(folder)
    return fastroute.load(folder)


def ranked(encoder: Encoder, **settings: object) -> SimilarityWeightedRouter:
    made = SimilarityWeightedRouter("large", "small", encoder=encoder, base=1e4, **settings)  # type: ignore[arg-type]
    return made.fit(battles())


def loaded_ranking(folder: Path, encoder: Path) -> SimilarityWeightedRouter:
    ranked(load_encoder(encoder)).save(folder)
    loaded = fastroute.load(folder)
    assert isinstance(loaded, SimilarityWeightedRouter)
    return loaded


def neighbours(encoder: Encoder, **settings: object) -> KnnRouter:
    pytest.importorskip("sklearn", reason="training needs the extra [train]")
    made = KnnRouter("large", "small", encoder=encoder, neighbours=8, base=1e3, **settings)  # type: ignore[arg-type]
    return made.fit(outcomes())


def loaded_neighbours(folder: Path, encoder: Path, **settings: object) -> KnnRouter:
    neighbours(load_encoder(encoder), **settings).save(folder)
    loaded = fastroute.load(folder)
    assert isinstance(loaded, KnnRouter)
    return loaded


def searched_neighbours(folder: Path, encoder: Path) -> KnnRouter:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    return loaded_neighbours(folder, encoder, search="ivf")


def cascade(first: Router, second: Router, **settings: float) -> CascadeRouter:
    rng = np.random.default_rng(0)
    words = ["prove", "the", "sum", "what", "x", "1", "\u4e2d", "?", "sqrt", "is", "why"]
    prompts = [" ".join(rng.choice(words, rng.integers(0, 60))) for _ in range(600)]
    return CascadeRouter(first, second).calibrate(prompts, **{"disagreement": 0.1, **settings})


def loaded_cascade(folder: Path, encoder: Path) -> Router:
    parts = (
        loaded(folder.with_name("first"), encoder).with_models("large", "small"),  # type: ignore[attr-defined]
        loaded_experts(folder.with_name("second"), encoder),
    )
    cascade(*parts).save(folder)
    return fastroute.load(folder)


def on_onnx_runtime(folder: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
    pytest.importorskip("tokenizers", reason="needs the extra [bert]")
    return folder.with_name("model")


def text_model(folder: Path, **settings: object) -> OnnxEncoder:
    return OnnxEncoder.from_folder(write_model(on_onnx_runtime(folder), random_tensors(seed=31)), **settings)  # type: ignore[arg-type]


def saved_text_model(folder: Path) -> Encoder:
    text_model(folder).save(folder.with_name("saved"))
    return load_encoder(folder.with_name("saved"))


def classifier(folder: Path, *, labels: int, quantised: bool = False) -> BertRouter:
    model = write_model(on_onnx_runtime(folder), random_tensors(labels=labels, seed=32))
    if quantised:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(model / "model.onnx", model / "model.onnx", weight_type=QuantType.QInt8)
    return BertRouter.from_folder(model, "large", "small")


def saved_classifier(folder: Path) -> Router:
    classifier(folder, labels=2).save(folder)
    return fastroute.load(folder)


@cache
def text_models() -> TextModels:
    """A server that all share; it starts when the first one asks."""
    pytest.importorskip("aiohttp", reason="needs the extra [endpoint]")
    return TextModels()


@pytest.fixture(scope="session", autouse=True)
def server_ends() -> Iterator[None]:
    yield
    if text_models.cache_info().currsize:
        text_models().close()


def remote_encoder(**settings: object) -> OpenAIEncoder:
    return OpenAIEncoder(SMALL, base_url=text_models().url, **settings)  # type: ignore[arg-type]


def saved_remote_encoder(folder: Path) -> Encoder:
    remote_encoder(dim=DIM).save(folder)
    return load_encoder(folder)


def remote_classifier(**settings: object) -> CausalLlmEndpointRouter:
    return CausalLlmEndpointRouter(text_models().url, "judge", "large", "small", fallback=None, **settings)  # type: ignore[arg-type]


def saved_remote_classifier(folder: Path) -> Router:
    remote_classifier().save(folder)
    return fastroute.load(folder)


def decoder(folder: Path, **settings: object) -> CausalLlmRouter:
    model = write_decoder(on_onnx_runtime(folder))
    return CausalLlmRouter.from_folder(model, "large", "small", template=(BEFORE, AFTER), **settings)  # type: ignore[arg-type]


def saved_decoder(folder: Path) -> Router:
    decoder(folder, max_tokens=20).save(folder)
    return fastroute.load(folder)


MakeRouter = Callable[[Path, Path], Router]
ROUTERS: dict[str, MakeRouter] = {
    "mf built in": lambda _, __: fastroute.load("mf"),
    "mf loaded": loaded,
    "mf of another pair": lambda folder, encoder: loaded(folder, encoder).with_models("tiny", "medium"),  # type: ignore[attr-defined]
    "mf fitted": lambda _, encoder: fitted(load_encoder(encoder)),
    "mf fitted and saved": lambda folder, encoder: loaded_from_saved(load_encoder(encoder), folder),
    "mf with a third party's encoder": lambda _, __: fitted(LengthEncoder()),
    "sw_ranking loaded": loaded_ranking,
    "sw_ranking of another pair": lambda folder, encoder: loaded_ranking(folder, encoder).with_models(
        "medium", "large"
    ),
    "sw_ranking as RouteLLM": lambda _, encoder: ranked(load_encoder(encoder), compat="routellm"),
    "sw_ranking of neighbours": lambda _, encoder: ranked(load_encoder(encoder), neighbours=100, shrinkage=1),
    "sw_ranking with more battles": lambda folder, encoder: loaded_ranking(folder, encoder).with_battles(battles()),
    "sw_ranking with a third party's encoder": lambda _, __: ranked(AngleEncoder()),
    "knn loaded": loaded_neighbours,
    "knn of another pair": lambda folder, encoder: loaded_neighbours(folder, encoder).with_models("small", "large"),
    "knn by inverted lists": searched_neighbours,
    "knn with a third party's encoder": lambda _, __: neighbours(AngleEncoder(), guard=0),
    "experts loaded": loaded_experts,
    "experts with gold": lambda folder, encoder: loaded_experts(folder, encoder, gold=True),
    "experts of another pair": lambda folder, encoder: loaded_experts(folder, encoder).with_models("medium", "tiny"),  # type: ignore[attr-defined]
    "experts fitted": lambda _, encoder: fitted_experts(load_encoder(encoder)),
    "experts fitted and saved": lambda folder, encoder: saved_experts(load_encoder(encoder), folder),
    "experts with a third party's encoder": lambda _, __: fitted_experts(LengthEncoder()),
    "cascade of built-in routers": lambda _, __: cascade(fastroute.load("experts"), fastroute.load("mf")),
    "cascade the other way round": lambda _, __: cascade(fastroute.load("mf"), fastroute.load("experts")),
    "cascade loaded": loaded_cascade,
    "cascade that decides at once": lambda _, __: cascade(fastroute.load("mf"), fastroute.load("mf")),
    "cascade that asks for everything": lambda _, __: cascade(RandomRouter(), fastroute.load("mf"), disagreement=0.001),
    "cascade in a cascade": lambda folder, encoder: cascade(
        loaded_cascade(folder, encoder), RandomRouter("large", "small"), disagreement=0.4
    ),
    "cascade at another threshold": lambda folder, encoder: loaded_cascade(folder, encoder).with_threshold(0.3),
    "cascade with a third party's encoder": lambda _, __: cascade(
        fitted(LengthEncoder()), RandomRouter("large", "small")
    ),
    "mf on ONNX Runtime": lambda folder, _: loaded_from_saved(text_model(folder), folder),
    "experts on ONNX Runtime": lambda folder, _: saved_experts(text_model(folder), folder),
    "bert of a folder": lambda folder, _: classifier(folder, labels=1),
    "bert of three classes": lambda folder, _: classifier(folder, labels=3),
    "bert loaded": lambda folder, _: saved_classifier(folder),
    "bert in int8": lambda folder, _: classifier(folder, labels=1, quantised=True),
    "mf through an endpoint": lambda folder, _: loaded_from_saved(remote_encoder(), folder),
    "knn through an endpoint": lambda _, __: neighbours(remote_encoder(dim=DIM), guard=0),
    "causal_llm through an endpoint": lambda _, __: remote_classifier(),
    "causal_llm by completions": lambda _, __: remote_classifier(template="{prompt}\nGrade:"),
    "cascade to an endpoint": lambda _, __: cascade(RandomRouter("large", "small"), remote_classifier()),
    "causal_llm through an endpoint, loaded": lambda folder, _: saved_remote_classifier(folder),
    "causal_llm of a folder": lambda folder, _: decoder(folder),
    "causal_llm loaded": lambda folder, _: saved_decoder(folder),
}
ENCODERS: dict[str, Callable[[Path], Encoder]] = {
    "static built in": lambda _: load_encoder(),
    "static": load_encoder,
    "third party": lambda _: LengthEncoder(),
    "onnx": text_model,
    "onnx, the first token": lambda folder: text_model(folder, pooling="cls", normalise=False),
    "onnx saved": saved_text_model,
    "endpoint": lambda _: remote_encoder(dim=DIM),
    "endpoint of unknown length": lambda _: remote_encoder(),
    "endpoint without a cache": lambda _: remote_encoder(dim=DIM, cache_entries=0),
    "endpoint with a folder": lambda folder: remote_encoder(dim=DIM, cache_entries=0, cache_folder=folder),
    "endpoint saved": saved_remote_encoder,
}
# What padding and other numbers of rows may change: matrix products of another size may add up in another order.
TOLERANCE = 1e-5


class Same:
    """Whether numbers are the same: bit for bit, but for what ONNX Runtime gives."""

    def __init__(self, name: str) -> None:
        self.tolerance = TOLERANCE if any(kind in name.lower() for kind in ("onnx", "bert", "causal_llm")) else 0.0

    def __call__(self, found: object, expected: object) -> bool:
        a, b = np.asarray(found), np.asarray(expected)
        return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= self.tolerance)


@pytest.fixture
def same(request: pytest.FixtureRequest) -> Same:
    return Same(request.node.callspec.id)


@pytest.fixture(scope="module", params=ROUTERS, ids=ROUTERS)
def router(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path
) -> Router:
    return ROUTERS[request.param](tmp_path_factory.mktemp("router") / "it", tiny_encoder_folder)


@pytest.fixture(scope="module", params=ENCODERS, ids=ENCODERS)
def encoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path
) -> Encoder:
    static = request.param == "static"
    return ENCODERS[request.param](tiny_encoder_folder if static else tmp_path_factory.mktemp("encoder") / "it")
