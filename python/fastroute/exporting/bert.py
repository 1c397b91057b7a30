"""A sequence classifier of transformers, such as RouteLLM's `bert`, as a router on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.builtin import STRONG, WEAK
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.exporting import PRECISIONS
from fastroute.exporting.checkpoint import Checkpoint, read_checkpoint
from fastroute.exporting.checks import agreement, check_export, graph_run, padded_batches, torch_run
from fastroute.exporting.encoder import LOGITS, export_classifier
from fastroute.exporting.packages import needed
from fastroute.exporting.quantisation import halved, quantised
from fastroute.exporting.sample_prompts import SAMPLE_PROMPTS
from fastroute.onnx import TOKENIZER_FILE
from fastroute.onnx.arguments import checked_max_tokens, checked_prompts
from fastroute.onnx.model import TextModel
from fastroute.onnx.session import import_onnxruntime
from fastroute.onnx.tokenizer import TextTokenizer
from fastroute.policies import Threshold
from fastroute.routers import BertRouter, Head
from fastroute.routers.base import different_models
from fastroute.routers.heads import head_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["export_bert"]

_SMALLER: Final[Mapping[str, Callable[[bytes], bytes]]] = {"int8": quantised, "fp16": halved}


def export_bert(
    path: str | os.PathLike[str],
    strong: str = STRONG,
    weak: str = WEAK,
    *,
    head: str | Head | None = None,
    threshold: float = 0.5,
    max_tokens: int | None = None,
    precision: str = "int8",
    prompts: Iterable[str] | None = None,
    training: Mapping[str, Any] | None = None,
) -> BertRouter:
    """Make a router of a local folder with a sequence classifier of transformers.

    The model is exported to ONNX, compared with itself in torch on sample prompts, and made smaller; the router's
    `metrics` say how far both steps were from what came before. Nothing is downloaded, no code of the folder is run
    and no pickle is read. Not for several threads at once: tracing is a state of the whole process.

    Parameters
    ----------
    path
        Holds `config.json` with an architecture that ends in ForSequenceClassification and 1 to 3 labels,
        `model.safetensors` or a `pytorch_model.bin` of plain tensors, and `tokenizer.json` or a vocabulary that
        transformers makes one of.
    strong, weak
        The models to route between: any two names.
    head
        What the logits mean; where None, three logits are RouteLLM's three classes, and one or two are binary.
    threshold
        Used by `route` when none is given; decisions before and after quantisation are compared at it.
    max_tokens
        Tokens of a prompt after this many don't count; what the folder says, or else 512 at most, where None.
    precision
        "int8" for processors; "fp32"; "fp16" for GPUs, which a processor runs slower than float32.
    prompts
        What is compared; a built-in set of many kinds where None.
    training
        What the artifact says of how it was made, beside the files that were read: JSON values.

    Raises
    ------
    DataError
        A file is missing or not sound; the model is no sequence classifier, has other labels than a head, needs code
        of its own or has NaN weights; the tokenizer is another model's, or gives other ids than that of transformers;
        or the graph's logits differ from torch's by more than 1e-4.
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed, or the head has other logits than the model.
    MissingDependencyError
        An extra is not installed.
    """
    given = None if head is None else head_of(head)
    wanted = None if max_tokens is None else checked_max_tokens(max_tokens)
    different_models(strong, weak)
    Threshold(threshold)
    if precision not in PRECISIONS:
        raise InvalidArgumentError(f"precision: found {precision!r:.40}, allowed: {', '.join(PRECISIONS)}")
    samples = list(SAMPLE_PROMPTS) if prompts is None else checked_prompts(prompts)
    if not samples:
        raise InvalidArgumentError("prompts: found none, allowed: at least one")
    if training is not None and not hasattr(training, "keys"):
        raise InvalidTypeError(f"training: found {type(training).__name__}, allowed: a mapping")
    import_onnxruntime()
    found = read_checkpoint(Path(path))
    meaning = _head(found, given)
    tokens = wanted or found.max_tokens
    sequences = _ids(found, samples, tokens)

    model = found.model()
    graph = export_classifier(model)
    text = _text_model(found, graph, tokens)  # it sees that there are so many positions
    try:
        check = check_export(
            torch_run(model, LOGITS), graph_run(graph, LOGITS), padded_batches(sequences, found.pad or 0)
        )
    except DataError as error:
        raise DataError(f"{found.sources.folder}: {error}") from error
    del model
    metrics: dict[str, Any] = {"export": check.manifest()}
    if precision in _SMALLER:
        before = meaning.scores(text.rows(samples))
        del text  # and its session, as large as the graph
        text = _text_model(found, _SMALLER[precision](graph), tokens)
        metrics["quantisation"] = agreement(before, meaning.scores(text.rows(samples)), threshold).manifest()
    made = {**(training or {}), **_origin(found, precision)}
    return BertRouter(text, meaning, strong, weak, threshold=threshold, training=made, metrics=metrics)


def _head(found: Checkpoint, given: Head | None) -> Head:
    kind = found.config.get("problem_type")
    if given is None and kind == "regression":
        raise InvalidArgumentError(
            "head: not given, and config.json says regression: regression, for a number that is the score, or binary, "
            "for one that goes through a sigmoid, is needed"
        )
    if kind == "multi_label_classification" and found.labels > 1:
        raise DataError(f"{found.sources.folder}/config.json: labels that exclude each other are needed, not {kind}")
    head = given or Head.usual(found.labels)
    head.check_width(found.labels, "head")
    return head


def _ids(found: Checkpoint, prompts: list[str], max_tokens: int) -> list[list[int]]:
    """Ids of the prompts, which must be those of transformers."""
    source = f"{found.sources.folder}/{TOKENIZER_FILE}"
    tokenizer = TextTokenizer(found.tokenizer, source=source, max_tokens=max_tokens, pad=found.pad)
    rows = found.config.get("vocab_size")
    if type(rows) is not int:
        raise DataError(f"{found.sources.folder}/config.json: vocab_size is {rows!r:.40}; a number of tokens is needed")
    tokenizer.check_vocabulary(rows, "config.json")
    sequences = tokenizer.ids(prompts, count=False)
    for index, (prompt, ids) in enumerate(zip(prompts, sequences, strict=True)):
        wanted = list(found.reference(prompt, truncation=True, max_length=max_tokens)["input_ids"])
        if ids != wanted:
            place = next((at for at, (one, other) in enumerate(zip(ids, wanted, strict=False)) if one != other), -1)
            raise DataError(
                f"{source}: gives other ids than the {type(found.reference).__name__} of transformers for "
                f"prompts[{index}], {len(ids)} and {len(wanted)} of them, from place {place} on; the files of the "
                f"tokenizer contradict each other"
            )
    return sequences


def _text_model(found: Checkpoint, graph: bytes, max_tokens: int) -> TextModel:
    model = TextModel(
        graph,
        found.tokenizer,
        source=str(found.sources.folder),
        outputs=(LOGITS,),
        pooling="graph",
        max_tokens=max_tokens,
        pad=found.pad,
    )
    model.check_longest()
    return model


def _origin(found: Checkpoint, precision: str) -> dict[str, Any]:
    """Describe the checkpoint for the artifact; never where it lay."""
    import fastroute

    versions = {name: str(needed(name).__version__) for name in ("torch", "transformers", "onnx", "onnxruntime")}
    licence = found.licence
    return {
        "method": "transformers to ONNX",
        "architecture": f"{found.config.get('model_type')}, {found.labels} labels",
        "precision": precision,
        "data": found.sources.described(),
        **({"licence": licence} if licence else {}),
        "versions": {"fastroute": fastroute.__version__, **versions},
    }
