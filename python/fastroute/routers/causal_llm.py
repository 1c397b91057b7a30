"""The causal_llm router: a decoder reads the prompt, and its last hidden state is classified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from fastroute.artifact import safetensors
from fastroute.builtin import STRONG, WEAK
from fastroute.errors import (
    ArtifactCorruptError,
    DataError,
    InvalidArgumentError,
    InvalidTypeError,
)
from fastroute.onnx import LABELS_FILE
from fastroute.onnx.arguments import checked_device, checked_max_tokens
from fastroute.policies import Threshold
from fastroute.routers.base import different_models, names_of, weights_of
from fastroute.routers.graph_router import GraphRouter, located, model_in
from fastroute.routers.heads import Head, head_of

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.onnx.model import TextModel
    from fastroute.routers.base import Contents
    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.progress import Progress

__all__ = ["LABELS", "TEMPLATE", "CausalLlmRouter", "checked_template"]

TEMPLATE: Final = (
    "<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>user\nIs that easy or hard to answer well?<|im_end|>\n<|im_start|>assistant\nIt is",
)
"""Text before and after a prompt: a turn of ChatML, and a question to which the first label says strong."""
LABELS: Final = (" hard", " easy")
_OUTPUTS = ("hidden",)
_LONGEST_TEMPLATE = 4096  # characters
_MOST_LABELS = 8


class CausalLlmRouter(GraphRouter):
    """A decoder as a classifier: softmax over labels at the last position.

    This is RouteLLM's `causal_llm` (arXiv 2406.18665, section 4.1).

    A prompt is put into a template, the decoder reads it, and each label has a row of weights for the hidden state at
    the last token. Untrained, the rows are those that the decoder itself has for the labels' tokens, so that the score
    is its own answer to the template's question; `fit` trains them, and leaves the decoder as it is. A prompt that is
    too long is cut, the template never.

    `fastroute.load` gives a saved one, `from_folder` makes one of what `fastroute.exporting` wrote. Needs
    ``pip install 'fastroute[bert]'``. It never changes but for `fit`, its count of truncated prompts and the identity
    that `save` gives it, and any number of threads may use it at once.
    """

    kind: ClassVar[str] = "causal_llm"

    def __init__(
        self,
        model: TextModel,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        labels: tuple[str, ...],
        head: Head,
        threshold: float = 0.5,
    ) -> None:
        head.check_width(len(labels), "head")
        self._model, self._head = model, head
        self._weight, self._bias, self._labels = weight, bias, labels
        self._strong, self._weak = different_models(strong, weak)
        self._threshold = Threshold(threshold)
        self._artifact = ""
        self._encoder = None
        self._manifest: dict[str, Any] = {"threshold": self.threshold}

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        template: tuple[str, str] = TEMPLATE,
        head: str | Head | None = None,
        threshold: float = 0.5,
        max_tokens: int | None = None,
        device: str = "cpu",
        provenance: Mapping[str, Any] | None = None,
    ) -> CausalLlmRouter:
        """Make an untrained router of a folder that `fastroute.exporting.decoder.export_decoder` wrote.

        Parameters
        ----------
        path
            Holds `model.onnx`, `tokenizer.json`, `labels.safetensors` and `config.json`.
        strong, weak
            The models to route between: any two names.
        template
            Text before and after a prompt.
        head
            What the logits of the labels mean; where None, of two labels the first says that the strong model is
            needed, and three are RouteLLM's.
        threshold
            Used by `route` when none is given.
        max_tokens
            Tokens after this many don't count, the template's included; 512 at most where None.
        device
            "cpu" or "cuda".
        provenance
            What the artifact is to say of how it was made, where `fit` says nothing else.

        Raises
        ------
        DataError
            A file is missing or not sound, or the tokenizer is another model's.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed; the graph has other labels than the head, or fewer
            positions than `max_tokens`.
        MissingDependencyError
            ONNX Runtime or `tokenizers` is not installed, or the device needs something that is not.
        """
        from fastroute.onnx.folder import positions_of, read_folder
        from fastroute.onnx.model import TextModel

        wanted = checked_device(device)
        tokens = None if max_tokens is None else checked_max_tokens(max_tokens)
        given = None if head is None else head_of(head)
        around = checked_template(template)
        different_models(strong, weak)
        Threshold(threshold)
        found = read_folder(path)
        positions = positions_of(found.config)
        if tokens is not None and positions is not None and tokens > positions > 0:
            raise InvalidArgumentError(
                f"max_tokens: found {tokens}, allowed: {positions} at most, for as many the decoder has positions"
            )
        model = TextModel(
            found.graph,
            found.tokenizer,
            source=str(found.path),
            outputs=_OUTPUTS,
            pooling="graph",
            max_tokens=tokens or found.max_tokens,
            pad=found.pad,
            template=around,
            device=wanted,
        )
        model.check_vocabulary(found.config.get("vocab_size"))
        model.check_longest()
        weight, bias, labels = _read_labels(found.path, model.width)
        router = cls(
            model,
            strong,
            weak,
            weight=weight,
            bias=bias,
            labels=labels,
            head=given or _usual_head(len(labels)),
            threshold=threshold,
        )
        if provenance is not None:
            router._manifest["training"] = dict(provenance)
        return router

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> CausalLlmRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        router = cls.__new__(cls)
        router._encoder = None
        router._labels = names_of(artifact, "labels", fewest=2)
        template = artifact.manifest.get("template")
        if not isinstance(template, list):
            raise ArtifactCorruptError(f"{artifact.path}: template is {template!r:.60}; two texts are needed")
        try:
            router._head = Head.from_manifest(artifact.manifest.get("head"))
            router._head.check_width(len(router._labels), "head")
            router._model = model_in(artifact, encoder, outputs=_OUTPUTS, template=checked_template(tuple(template)))
        except (DataError, InvalidArgumentError, InvalidTypeError) as error:
            raise ArtifactCorruptError(located(artifact, error)) from error
        weights, _ = weights_of(
            artifact,
            LABELS_FILE,
            {"weight": ("labels", "width"), "bias": ("labels",)},
            {"labels": len(router._labels), "width": router._model.width},
        )
        router._weight, router._bias = weights["weight"], weights["bias"]
        router._restore(artifact, strong=strong, weak=weak)
        return router

    def fit(
        self,
        outcomes: object = None,
        *,
        judge_scores: object = None,
        plan: Plan | str | os.PathLike[str] | None = None,
        domain_column: str | None = None,
        score_range: tuple[float, float] = (0.0, 1.0),
        head: str = "three_class",
        most_prompts: int = 4000,
        zero_shot: bool = False,
        seed: int = 0,
        cache: str | os.PathLike[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> CausalLlmRouter:
        """Train the labels' weights on scores of models; the decoder stays as it is.

        Tables are as `KnnRouter.fit` takes them; needs ``pip install 'fastroute[train]'``.

        Parameters
        ----------
        outcomes, judge_scores, plan, domain_column, score_range
            As for `KnnRouter.fit`.
        head
            "three_class": strong model wins, tie, weak model wins, as if each side's score were its probability to
            succeed. "binary": two labels, by the difference of the scores.
        most_prompts
            So many are drawn, from each task by the root of its size.
        zero_shot
            Keep the decoder's own labels; data only choose the threshold and give figures.
        seed
            Of what is drawn, and of folds.
        cache
            Folder where hidden states are kept as they are worked out, so that a run that was cut short goes on.
        provenance
            What the artifact is to say of its training: data with hashes and licences, the command.
        progress
            Called with (prompts read, prompts in all).

        Returns
        -------
        CausalLlmRouter
            Itself. Its threshold sends half of the training prompts, each scored without its fold, to the strong model.

        Raises
        ------
        DataError
            A column is missing or holds what is not allowed, or nothing compares two models.
        UnknownModelError
            `strong` or `weak` was not scored.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed.
        """
        from fastroute.training.causal_llm import HEADS, pair_scores, train_labels

        if head not in HEADS:
            raise InvalidArgumentError(f"head: found {head!r:.60}, allowed: {', '.join(HEADS)}")
        if not isinstance(zero_shot, bool):
            raise InvalidTypeError(f"zero_shot: found {type(zero_shot).__name__}, allowed: a bool")
        if provenance is not None and not isinstance(provenance, Mapping):
            raise InvalidTypeError(f"provenance: found {type(provenance).__name__}, allowed: a mapping")
        scored = pair_scores(
            outcomes,
            judge_scores,
            (self._strong, self._weak),
            plan=plan,
            domain_column=domain_column,
            score_range=score_range,
            most_prompts=most_prompts,
            seed=seed,
        )
        trained_head = Head(head, strong_class=0) if head == "binary" else Head(head)
        trained = train_labels(
            self._model,
            scored,
            head=head,
            scores_of=trained_head.scores,
            own_scores_of=lambda states: self._head.scores(self._logits(states)),
            zero_shot=zero_shot,
            seed=int(seed),
            cache=cache,
            progress=progress,
        )
        if trained.weight is not None and trained.bias is not None:
            self._weight, self._bias, self._head, self._labels = (
                trained.weight,
                trained.bias,
                trained_head,
                trained.labels,
            )
        self._threshold = Threshold(trained.threshold)
        training = {**(provenance or {}), **trained.members["training"]}
        self._manifest = {"threshold": self.threshold, **trained.members, "training": training}
        self._artifact = ""
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their logits."""
        return self._labels

    @property
    def template(self) -> tuple[str, str]:
        """Text before and after a prompt."""
        before, after = self._model.template or ("", "")
        return before, after

    def _logits(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Logits of the labels, (n, labels) float64: each row's the same alone and among others."""
        wide = rows.astype(np.float64)
        # A matrix product may add up in another order for another number of rows; a sum along each row may not.
        each = [(wide * row).sum(axis=1) for row in self._weight.astype(np.float64)]
        logits: NDArray[np.float64] = np.stack(each, axis=1) + self._bias
        return logits

    def _contents(self) -> Contents:
        members, files = super()._contents()
        tensors = {"weight": self._weight, "bias": self._bias}
        members |= {"labels": list(self._labels), "template": list(self.template)}
        return members, {**files, LABELS_FILE: safetensors.encode(tensors)}


def _usual_head(labels: int) -> Head:
    return Head("binary", strong_class=0) if labels == 2 else Head("three_class")


def checked_template(template: object) -> tuple[str, str]:
    """Return the texts before and after a prompt, or say what was found."""
    if not isinstance(template, tuple) or len(template) != 2 or not all(isinstance(text, str) for text in template):
        raise InvalidTypeError(f"template: found {template!r:.60}, allowed: the texts before and after a prompt")
    before, after = template
    if not after or len(before) + len(after) > _LONGEST_TEMPLATE:
        raise InvalidArgumentError(
            f"template: found {len(before)} characters before and {len(after)} after a prompt, allowed: "
            f"{_LONGEST_TEMPLATE} together, and at least one after it"
        )
    return before, after


def _read_labels(folder: Path, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[str, ...]]:
    """Labels of an exported folder: weights, biases and names."""
    from fastroute.onnx.folder import read_file

    path = folder / LABELS_FILE
    raw = read_file(folder, path, most=_MOST_LABELS * (width + 1024) * 4)
    source = str(path)
    try:
        names = json.loads(safetensors.decode_metadata(raw, source=source).get("labels", "null"))
        tensors = safetensors.decode(raw, source=source)
        if not isinstance(names, list) or not 2 <= len(names) <= _MOST_LABELS:
            raise DataError(f"{source}: its metadata names {names!r:.60} as labels; 2 to {_MOST_LABELS} are needed")
        weight = safetensors.expect_tensor(tensors, "weight", source=source, dtype="float32", shape=(len(names), width))
        bias = safetensors.expect_tensor(tensors, "bias", source=source, dtype="float32", shape=(len(names),))
    except (ArtifactCorruptError, ValueError) as error:
        raise DataError(str(error)) from error
    if len(set(map(str, names))) < len(names) or len(np.unique(np.column_stack([weight, bias]), axis=0)) < len(names):
        raise DataError(f"{source}: two of its labels {names!r:.80} are one; different ones are needed")
    return weight.copy(), bias.copy(), tuple(map(str, names))
