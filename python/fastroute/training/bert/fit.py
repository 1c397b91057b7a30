"""From tables to a router: fine-tune the encoder, export it, put the head on its embedding."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute import _core
from fastroute.artifact.folder import checked_path
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.exporting import PRECISIONS
from fastroute.exporting.checks import agreement, check_export, graph_run, padded_batches, torch_run
from fastroute.exporting.encoder import HIDDEN_STATES, LOGITS, export_classifier, export_encoder
from fastroute.exporting.quantisation import halved, quantised
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE
from fastroute.onnx.folder import positions_of, read_file
from fastroute.onnx.tokenizer import TextTokenizer
from fastroute.training.bert.descent import Settings, descend, mean_loss
from fastroute.training.bert.embeddings import Embedded
from fastroute.training.bert.network import (
    CLASSES_OBJECTIVE,
    SCORES_OBJECTIVE,
    as_classifier,
    check_vocabulary,
    new_network,
)
from fastroute.training.bert.samples import samples_from_battles, samples_from_scores, scores_of_tables
from fastroute.training.bert.saved_state import SavedState
from fastroute.training.comparisons.plan import Plan, read_plan
from fastroute.training.comparisons.sources import read_sources
from fastroute.training.experts.fit import prepare
from fastroute.training.splits import held_out

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from fastroute.encoders import OnnxEncoder
    from fastroute.exporting.checks import ExportCheck
    from fastroute.routers import BertRouter, ExpertsRouter
    from fastroute.training.battles import Battles
    from fastroute.training.bert.descent import Descent
    from fastroute.training.bert.samples import Samples
    from fastroute.training.comparisons.sources import Sources
    from fastroute.training.experts import GoldLabels
    from fastroute.training.progress import Progress

    Bars = Callable[[str], AbstractContextManager[Progress | None]]

__all__ = ["describe_checkpoint", "fine_tune_classifier", "fine_tune_experts"]

_CHECKED = 64  # prompts on which the export is compared with torch
_COMPARED = 500  # prompts on which quantisation is compared with what it was made of
_VALIDATED = 2_000  # samples that the held-out loss is worked out on
_CONFIG_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class _Validation:
    """Which prompts are kept from the fine-tuning: by their keys and the seed alone."""

    fraction: float
    seed: int

    def __call__(self, keys: tuple[str, ...]) -> NDArray[np.bool_]:
        return held_out(keys, self.fraction, self.seed)


@dataclass(frozen=True, slots=True)
class _Tuned:
    """A fine-tuned network, its samples, and what there is to say of it."""

    folder: Path
    network: Any
    tokens: Sequence[Sequence[int]]
    pad: int
    samples: Samples
    hidden: NDArray[np.bool_]
    descent: Descent
    loss: float

    def checked(self) -> list[Sequence[int]]:
        """Ids of held-out prompts on which the export is compared with torch."""
        return [self.tokens[i] for i in np.flatnonzero(self.hidden)[:_CHECKED]]

    def report(self, settings: Settings) -> dict[str, Any]:
        """Figures for the artifact."""
        return {
            "settings": asdict(settings),
            "steps": self.descent.steps,
            "drawn": self.descent.drawn,
            "held_out_samples": int(self.hidden.sum()),
            "held_out_loss": self.loss,
            "training_losses": list(self.descent.losses),
        }


def fine_tune_experts(
    folder: str | os.PathLike[str],
    *,
    strong: str,
    weak: str,
    outcomes: object = None,
    judge_scores: object = None,
    preferences: object = None,
    gold: Sequence[GoldLabels] = (),
    plan: Plan | str | os.PathLike[str] | None = None,
    domain_column: str | None = None,
    clusters: int | None = None,
    score_range: tuple[float, float] = (0.0, 1.0),
    settings: Settings | None = None,
    routed_tokens: int | None = None,
    precision: str = "int8",
    validation_fraction: float = 0.1,
    checkpoint: str | os.PathLike[str] | None = None,
    save_every: int = 200,
    resume: bool = False,
    provenance: Mapping[str, Any] | None = None,
    bars: Bars | None = None,
) -> ExpertsRouter:
    """Fine-tune an encoder on scores of many models, and put the experts head on its embedding.

    Some prompts are kept from the fine-tuning; the figures of the artifact are of those alone, by heads that have not
    seen them either.

    Parameters
    ----------
    folder
        A local Hugging Face checkpoint of a BERT-like encoder: config.json, model.safetensors, tokenizer.json.
    strong, weak, outcomes, judge_scores, preferences, gold, plan, domain_column, clusters, score_range
        As `fastroute.routers.ExpertsRouter` and its `fit` take them.
    settings
        How to fine-tune.
    routed_tokens
        Tokens of a prompt after this many don't count when it is routed; as many as there are positions, at most 512,
        where None.
    precision
        "int8" for processors, "fp16" for GPUs, or "fp32" for both.
    validation_fraction
        Share of the prompts to keep from the fine-tuning; above 0.
    checkpoint, save_every, resume
        File to keep the state of the fine-tuning in, after how many steps, and whether to go on from there.
    provenance
        What the artifact is to say of its training.
    bars
        Gives a progress callback for a step's name, as `fastroute.training.progress.progress_bar`.

    Returns
    -------
    ExpertsRouter
        Trained, not saved; its encoder is an `OnnxEncoder`.

    Raises
    ------
    DataError
        The data or the folder are not what is needed, the loss is not finite any more, or the export is not the model.
    UnknownModelError
        `strong` or `weak` was not scored.
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    MissingDependencyError
        An extra is not installed; the message says which.
    """
    from fastroute.routers import ExpertsRouter

    chosen = Settings() if settings is None else settings
    _check(chosen, precision, validation_fraction, routed_tokens, checkpoint, save_every, resume=resume)
    low, high = score_range
    scores, judges = scores_of_tables(outcomes, judge_scores, score_range=(low, high))
    samples = samples_from_scores(scores, judges, judged_factor=chosen.judged_factor)
    sources = read_sources(outcomes, judge_scores, preferences, domain_column=domain_column, score_range=(low, high))
    _check_head(sources, (strong, weak), plan, clusters)  # before a quarter of an hour is spent
    unseen = _Validation(validation_fraction, chosen.seed)
    kept = _Kept(checkpoint, save_every, resume, routed_tokens, bars)
    with tempfile.TemporaryDirectory(prefix="fastroute-") as scratch:
        tuned = _tune(folder, samples, SCORES_OBJECTIVE, chosen, unseen, kept)
        exact, encoder, check = _exported_encoder(tuned, Path(scratch), precision, kept.routed_tokens)
        router = ExpertsRouter(strong, weak, encoder=encoder, seed=chosen.seed)
        with _bar(bars, "embed") as progress:
            embed = Embedded(encoder, [*samples.prompts, *sources.chat_prompts.values()], progress)
        with _bar(bars, "experts") as progress:
            router.fit(
                outcomes,
                judge_scores=judge_scores,
                preferences=preferences,
                gold=gold,
                plan=plan,
                domain_column=domain_column,
                clusters=clusters,
                score_range=(low, high),
                embed=embed,
                unseen=unseen,
                provenance={**(provenance or {}), "fine_tuning": tuned.report(chosen)},
                progress=progress,
            )
        prompts = [samples.prompts[i] for i in np.flatnonzero(tuned.hidden)[:_COMPARED]]
        native = _core.DomainExperts(None, **router.parameters_)
        before, after = (native.score(prompts, each.embed(prompts)) for each in (exact, encoder))
    compared = agreement(before, after, router.threshold)
    return router.with_record(metrics={"export": check.manifest(), "quantisation": compared.manifest()})


def fine_tune_classifier(
    folder: str | os.PathLike[str],
    battles: Battles,
    *,
    strong: str,
    weak: str,
    settings: Settings | None = None,
    routed_tokens: int | None = None,
    precision: str = "int8",
    validation_fraction: float = 0.1,
    checkpoint: str | os.PathLike[str] | None = None,
    save_every: int = 200,
    resume: bool = False,
    provenance: Mapping[str, Any] | None = None,
    bars: Bars | None = None,
) -> BertRouter:
    """Fine-tune an encoder with the paper's head: strong model wins, tie, weak model wins (arXiv 2406.18665, 4.1).

    Parameters
    ----------
    folder, strong, weak, settings, routed_tokens, precision, validation_fraction
    checkpoint, save_every, resume, provenance, bars
        As in `fine_tune_experts`; the rank and the judges' factor have no part in it.
    battles
        What to learn from; `fastroute.training.bert.samples.samples_from_battles` says which of them count.

    Returns
    -------
    BertRouter
        Trained, not saved; its threshold sends half of the held-out prompts to the strong model.

    Raises
    ------
    DataError, InvalidTypeError, InvalidArgumentError, MissingDependencyError
        As in `fine_tune_experts`.
    """
    from fastroute.routers import BertRouter

    chosen = Settings() if settings is None else settings
    _check(chosen, precision, validation_fraction, routed_tokens, checkpoint, save_every, resume=resume)
    samples, strong_models, weak_models = samples_from_battles(battles, strong, weak)
    unseen = _Validation(validation_fraction, chosen.seed)
    kept = _Kept(checkpoint, save_every, resume, routed_tokens, bars)
    with tempfile.TemporaryDirectory(prefix="fastroute-") as scratch:
        tuned = _tune(folder, samples, CLASSES_OBJECTIVE, chosen, unseen, kept)
        graph = export_classifier(as_classifier(tuned.network))
        batches = padded_batches(tuned.checked(), tuned.pad)
        check = check_export(torch_run(as_classifier(tuned.network), LOGITS), graph_run(graph, LOGITS), batches)

        def router_of(graph: bytes, name: str) -> BertRouter:
            path = _written(Path(scratch) / name, tuned.folder, graph)
            return BertRouter.from_folder(path, strong, weak, head="three_class", max_tokens=kept.routed_tokens)

        exact = router_of(graph, "exact")
        router = exact if precision == "fp32" else router_of(_smaller(graph, precision), "small")
        prompts = [samples.prompts[i] for i in np.flatnonzero(tuned.hidden)[:_COMPARED]]
        with _bar(bars, "threshold") as progress:
            after = router.score(prompts, progress=progress)
        before = exact.score(prompts)
    threshold = float(np.median(after))
    compared = agreement(before, after, threshold)
    calibration = {"strong_fraction": 0.5, "prompts": len(prompts), "on": "held-out training prompts"}
    return router.with_threshold(threshold, calibration).with_record(
        training={
            **(provenance or {}),
            "samples": len(samples),
            "dropped_rows": samples.dropped,
            "strong_models": list(strong_models),
            "weak_models": list(weak_models),
            "fine_tuning": tuned.report(chosen),
        },
        metrics={
            **_class_figures(samples, tuned, np.asarray(after, np.float64), len(prompts)),
            "export": check.manifest(),
            "quantisation": compared.manifest(),
        },
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of the arguments is no setting of the fine-tuning itself."""

    checkpoint: str | os.PathLike[str] | None
    every: int
    resume: bool
    routed_tokens: int | None
    bars: Bars | None


def _tune(  # noqa: PLR0917 - arguments of the functions above
    folder: str | os.PathLike[str],
    samples: Samples,
    objective: str,
    settings: Settings,
    unseen: _Validation,
    kept: _Kept,
) -> _Tuned:
    path = checked_path(folder, "folder")
    raw = read_file(path, path / TOKENIZER_FILE)
    tokenizer = TextTokenizer(raw, source=str(path / TOKENIZER_FILE), max_tokens=settings.max_tokens)
    if tokenizer.pad is None:
        raise DataError(f"{path / TOKENIZER_FILE}: has no token for padding, which batches need")
    hidden = unseen(samples.keys)
    training, validation = np.flatnonzero(~hidden), np.flatnonzero(hidden)
    if not len(training) or not len(validation):
        raise DataError(
            f"training data: {len(training)} prompts to train on and {len(validation)} to validate on; both are needed "
            f"(validation_fraction is {unseen.fraction})"
        )
    tokens = tokenizer.ids(samples.prompts, count=False)
    network = new_network(path, len(samples.columns), objective=objective, rank=settings.rank, seed=settings.seed)
    check_vocabulary(network, tokenizer, path)
    positions = positions_of(network["encoder"].config.to_dict())
    for argument, most in (("settings.max_tokens", settings.max_tokens), ("routed_tokens", kept.routed_tokens)):
        if positions is not None and most is not None and most > positions:
            raise InvalidArgumentError(
                f"{argument}: found {most}, allowed: at most {positions}, the positions that {path} has"
            )
    checkpoint = None
    if kept.checkpoint is not None:
        checkpoint = SavedState(Path(kept.checkpoint), _fingerprint(path, raw, samples, settings, unseen, objective))
        checkpoint.check(resume=kept.resume)
    given: dict[str, Any] = {"objective": objective, "pad": tokenizer.pad}
    with _bar(kept.bars, "fine-tune") as progress:
        descent = descend(
            network,
            samples,
            tokens,
            training,
            settings,
            checkpoint=checkpoint,
            every=kept.every,
            resume=kept.resume,
            progress=progress,
            **given,
        )
    generator = np.random.default_rng(settings.seed)
    measured = generator.permutation(validation)[:_VALIDATED]
    loss = mean_loss(network, samples, tokens, measured, settings, **given)
    return _Tuned(path, network, tokens, tokenizer.pad, samples, hidden, descent, loss)


def _exported_encoder(
    tuned: _Tuned, scratch: Path, precision: str, max_tokens: int | None
) -> tuple[OnnxEncoder, OnnxEncoder, ExportCheck]:
    """Export the encoder, exact and as small as asked for, with how far the exact one is from torch."""
    from fastroute.encoders import OnnxEncoder

    model = tuned.network["encoder"]
    graph = export_encoder(model)
    batches = padded_batches(tuned.checked(), tuned.pad)
    check = check_export(torch_run(model, HIDDEN_STATES), graph_run(graph, HIDDEN_STATES), batches)

    def encoder_of(graph: bytes, place: str) -> OnnxEncoder:
        path = _written(scratch / place / f"{tuned.folder.resolve().name}-tuned", tuned.folder, graph)
        return OnnxEncoder.from_folder(path, pooling="mean", max_tokens=max_tokens)

    exact = encoder_of(graph, "exact")
    return exact, exact if precision == "fp32" else encoder_of(_smaller(graph, precision), "small"), check


def _smaller(graph: bytes, precision: str) -> bytes:
    return quantised(graph) if precision == "int8" else halved(graph)


def describe_checkpoint(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Name of a checkpoint's folder, and size and SHA-256 of the files that training reads.

    Raises
    ------
    DataError
        A file is missing or can't be read.
    """
    path = Path(folder)
    weights = sorted(each.name for each in path.glob("*.safetensors"))
    files = {name: read_file(path, path / name) for name in (_CONFIG_FILE, TOKENIZER_FILE, *weights)}
    return {
        "name": path.resolve().name,
        "files": [
            {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ],
    }


def _written(path: Path, origin: Path, graph: bytes) -> Path:
    """Write a folder with a graph, and with the tokenizer and the configuration of the checkpoint."""
    path.mkdir(parents=True)
    (path / GRAPH_FILE).write_bytes(graph)
    for name in (TOKENIZER_FILE, _CONFIG_FILE):
        (path / name).write_bytes(read_file(origin, origin / name))
    return path


def _fingerprint(  # noqa: PLR0917 - everything that a run depends on
    folder: Path, tokenizer: bytes, samples: Samples, settings: Settings, unseen: _Validation, objective: str
) -> str:
    digest = hashlib.sha256(tokenizer)
    for name in (_CONFIG_FILE, *sorted(path.name for path in folder.glob("*.safetensors"))):
        digest.update(hashlib.sha256(read_file(folder, folder / name)).digest())
    digest.update(json.dumps([asdict(settings), asdict(unseen), objective, samples.columns]).encode())
    for text in (*samples.keys, *samples.prompts):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for values in (samples.source, samples.begin, samples.column, samples.target, samples.guess, samples.weight):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _class_figures(samples: Samples, tuned: _Tuned, scores: NDArray[np.float64], count: int) -> dict[str, Any]:
    """How the scores of the first held-out samples rank battles that no pass has seen."""
    from fastroute.training.comparisons.held_out import HeldOut, task_figures

    shares = samples.target.reshape(-1, 3)[np.flatnonzero(tuned.hidden)[:count]]
    # A win is worth 1 to its side, a tie one half to both.
    sides = shares[:, 0] + shares[:, 1] / 2, shares[:, 2] + shares[:, 1] / 2
    figures = task_figures(HeldOut("battles", "battles", (), (), *sides, scores))
    return {"held_out_apgr": figures["apgr"], "tasks": [figures]}


def _check(  # noqa: PLR0917 - arguments of the functions above
    settings: object,
    precision: str,
    fraction: object,
    routed_tokens: object,
    checkpoint: object,
    every: object,
    *,
    resume: bool,
) -> None:
    if not isinstance(settings, Settings):
        raise InvalidTypeError(f"settings: found {type(settings).__name__}, allowed: Settings or None")
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision: found {precision!r:.40}, allowed: {', '.join(PRECISIONS)}")
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
        raise InvalidTypeError(f"validation_fraction: found {type(fraction).__name__}, allowed: a number")
    if not 0 < fraction < 1:
        raise InvalidArgumentError(f"validation_fraction: found {fraction}, allowed: above 0 and below 1")
    for name, value in (("routed_tokens", routed_tokens), ("save_every", every)):
        if value is None and name == "routed_tokens":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidTypeError(f"{name}: found {type(value).__name__}, allowed: an int")
        if value < 1:
            raise InvalidArgumentError(f"{name}: found {value}, allowed: 1 or more")
    if resume and checkpoint is None:
        raise InvalidArgumentError("resume: goes with checkpoint, the file to go on from")


def _check_head(
    sources: Sources, pair: tuple[str, str], plan: Plan | str | os.PathLike[str] | None, clusters: int | None
) -> None:
    """See that the experts head can be fitted: the pair was scored, and there is enough to compare."""
    from fastroute.routers.base import different_models, model_index

    for argument, model in zip(("strong", "weak"), pair, strict=True):
        model_index(sources.models, model, argument)
    different_models(*pair)
    chosen = plan if isinstance(plan, Plan) else Plan() if plan is None else read_plan(plan)
    prepare(sources.tasks, pair=pair, plan=chosen, clusters=clusters, chat_prompts=sources.chat_prompts)


def _bar(bars: Bars | None, step: str) -> AbstractContextManager[Progress | None]:
    return nullcontext() if bars is None else bars(step)
