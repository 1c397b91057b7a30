"""The bert router: a fine-tuned transformer classifies the prompt, on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, overload

from fastroute.errors import (
    ArtifactCorruptError,
    DataError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidTypeError,
)
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE
from fastroute.onnx.arguments import checked_device, checked_max_tokens
from fastroute.policies import Threshold
from fastroute.routers.base import STRONG, WEAK, BaseRouter, different_models
from fastroute.routers.heads import Head, head_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.onnx.model import TextModel
    from fastroute.routers.base import Contents

__all__ = ["BertRouter"]

_OUTPUTS = ("logits",)


class BertRouter(BaseRouter):
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
        from fastroute.onnx.model import TextModel

        if encoder is not None:
            raise EncoderMismatchError(f"{artifact.path}: a bert router reads text by itself; encoder= is not allowed")
        manifest = artifact.manifest
        for name in (GRAPH_FILE, TOKENIZER_FILE):
            if name not in artifact.files:
                raise ArtifactCorruptError(f"{artifact.path}: its manifest lists no {name}, which this router has")
        pad = manifest.get("pad")
        if pad is not None and type(pad) is not int:
            raise ArtifactCorruptError(f"{artifact.path}: pad is {pad!r:.60}; an id or null is needed")
        router = cls.__new__(cls)
        router._encoder = None
        try:
            router._head = Head.from_manifest(manifest.get("head"))
            router._model = TextModel(
                artifact.files[GRAPH_FILE],
                artifact.files[TOKENIZER_FILE],
                source=str(artifact.path),
                outputs=_OUTPUTS,
                pooling="graph",
                max_tokens=checked_max_tokens(manifest.get("max_tokens")),
                pad=pad,
            )
            router._head.check_width(router._model.width, "head")
        except (DataError, InvalidArgumentError, InvalidTypeError) as error:
            raise ArtifactCorruptError(_located(artifact, error)) from error
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def head(self) -> Head:
        """What the logits mean."""
        return self._head

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures of its training, as the artifact has them."""
        return dict(self._manifest.get("metrics", {}))

    @property
    def max_tokens(self) -> int:
        """Tokens of a prompt after this many don't count, with those that the tokenizer adds."""
        return self._model.tokenizer.max_tokens

    @property
    def truncated(self) -> int:
        """How many prompts have been cut at `max_tokens` so far, in all threads of this process."""
        return self._model.tokenizer.truncated

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda"."""
        return self._model.device

    def to(self, device: str) -> Self:
        """Return this router on a device; itself where it is there.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            No device, or none that is here; or the graph is quantised for a CPU.
        MissingDependencyError
            What the device needs is not installed; the message says what.
        """
        model = self._model.to(device)
        if model is self._model:
            return self
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._model = model
        return other

    @overload
    def score(self, prompts: str, *, progress: Callable[[int, int], None] | None = None) -> float: ...
    @overload
    def score(
        self, prompts: Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]: ...
    def score(
        self, prompts: str | Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> float | NDArray[np.float32]:
        """Score prompts: the probability that the strong model is needed, as the head has it.

        Uses `fastroute.info().threads` threads without the GIL. An empty prompt has the score of the tokens that the
        tokenizer adds, such as [CLS] and [SEP]; a prompt without any token that of logits of zero.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.
        progress
            Called with (prompts done, prompts in all) after each batch.

        Returns
        -------
        float or numpy.ndarray
            In [0, 1]; float32 (n,) for an iterable.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        DataError
            The graph gives NaN, or fails.
        """
        if isinstance(prompts, str):
            return float(self._head.scores(self._model.row(prompts)[None])[0])
        return self._head.scores(self._model.rows(prompts, progress))

    def tokenize(self, prompt: str, *, truncate: bool = False) -> list[int]:
        """Token ids of a prompt, without those that the tokenizer adds; with `truncate`, only those that count.

        Raises
        ------
        InvalidTypeError
            `prompt` is no str.
        """
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        return self._model.tokenizer.bare_ids(prompt, truncate=truncate)

    def _contents(self) -> Contents:
        members = {
            "strong": self._strong,
            "weak": self._weak,
            "head": self._head.manifest(),
            "max_tokens": self.max_tokens,
            "pad": self._model.tokenizer.pad,
        }
        return members, {GRAPH_FILE: self._model.graph, TOKENIZER_FILE: self._model.tokenizer_file}

    def _complete(self) -> None:
        different_models(self._strong, self._weak)


def _located(artifact: Artifact, error: Exception) -> str:
    """Text of an error, with the artifact's folder once."""
    text = str(error)
    return text if text.startswith(str(artifact.path)) else f"{artifact.path}: {text}"
