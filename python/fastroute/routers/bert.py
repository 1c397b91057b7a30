"""The bert router: a fine-tuned transformer classifies the prompt, on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fastroute.builtin import STRONG, WEAK
from fastroute.errors import ArtifactCorruptError, DataError, InvalidArgumentError, InvalidTypeError
from fastroute.onnx.arguments import checked_device, checked_max_tokens
from fastroute.policies import Threshold
from fastroute.routers.base import different_models
from fastroute.routers.graph_router import GraphRouter, located, model_in
from fastroute.routers.heads import Head, head_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.onnx.model import TextModel

__all__ = ["BertRouter"]

_OUTPUTS = ("logits",)


class BertRouter(GraphRouter):
    """A transformer with a classification head, run by ONNX Runtime: RouteLLM's `bert` (arXiv 2406.18665, section 4.1).

    The graph gives logits, and the head says what they mean (`fastroute.routers.heads`). `fastroute.load` gives a
    saved one, `from_folder` makes one of an ONNX export. Needs ``pip install 'fastroute[bert]'``, or
    ``'fastroute[gpu]'`` for ``to("cuda")``. It never changes but for its count of truncated prompts and the identity
    that `save` gives it, and any number of threads may use it at once.

    A prompt has the same score alone and in a batch within 1e-5 for a float32 graph: padding is masked out. A graph
    quantised by ``quantize_dynamic`` runs prompts one by one, so that their scores are the same bit for bit.

    `training` and `metrics` are what the artifact says of how it was made and of what was measured: JSON values.
    """

    kind: ClassVar[str] = "bert"

    def __init__(
        self,
        model: TextModel,
        head: Head,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        threshold: float = 0.5,
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        head.check_width(model.width, "head")
        self._model, self._head = model, head
        self._strong, self._weak = different_models(strong, weak)
        self._threshold = Threshold(threshold)
        self._artifact = ""
        self._encoder = None
        self._manifest: dict[str, Any] = {"threshold": self.threshold}
        for name, values in (("training", training), ("metrics", metrics)):
            self._manifest |= {} if values is None else {name: dict(values)}

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        head: str | Head | None = None,
        threshold: float = 0.5,
        max_tokens: int | None = None,
        device: str = "cpu",
    ) -> BertRouter:
        """Make a router of a local folder with a classifier exported to ONNX.

        Parameters
        ----------
        path
            Holds `model.onnx` or `onnx/model.onnx`, with all of its data in it, and `tokenizer.json`; `config.json` is
            read where it is there.
        strong, weak
            The models to route between: any two names.
        head
            What the logits mean: "binary", "three_class", "regression" or a `Head`. Where None, three logits are
            RouteLLM's three classes, and one or two are binary.
        threshold
            Used by `route` when none is given.
        max_tokens
            Tokens of a prompt after this many don't count, with those that the tokenizer adds; what the folder says,
            or else 512 at most, where None.
        device
            "cpu" or "cuda".

        Raises
        ------
        DataError
            A file is missing or not sound, refers to data elsewhere, or the tokenizer is another model's.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed; the graph has other logits than the head, or fewer
            positions than `max_tokens`.
        MissingDependencyError
            ONNX Runtime or `tokenizers` is not installed, or the device needs something that is not.
        """
        from fastroute.onnx.folder import read_folder
        from fastroute.onnx.model import TextModel

        wanted = checked_device(device)
        tokens = None if max_tokens is None else checked_max_tokens(max_tokens)
        given = None if head is None else head_of(head)
        different_models(strong, weak)
        Threshold(threshold)
        found = read_folder(path)
        model = TextModel(
            found.graph,
            found.tokenizer,
            source=str(found.path),
            outputs=_OUTPUTS,
            pooling="graph",
            max_tokens=tokens or found.max_tokens,
            pad=found.pad,
            device=wanted,
        )
        model.check_vocabulary(found.config.get("vocab_size"))
        model.check_longest()
        return cls(model, given or Head.usual(model.width), strong, weak, threshold=threshold)

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> BertRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        router = cls.__new__(cls)
        router._encoder = None
        try:
            router._head = Head.from_manifest(artifact.manifest.get("head"))
            router._model = model_in(artifact, encoder, outputs=_OUTPUTS)
            router._head.check_width(router._model.width, "head")
        except (DataError, InvalidArgumentError, InvalidTypeError) as error:
            raise ArtifactCorruptError(located(artifact, error)) from error
        router._restore(artifact, strong=strong, weak=weak)
        return router
