"""What routers on ONNX Runtime share: a text model, and a head that says what its logits mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from fastroute.errors import ArtifactCorruptError, EncoderMismatchError
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE
from fastroute.onnx.arguments import checked_max_tokens
from fastroute.onnx.reading import ReadsText
from fastroute.routers.base import BaseRouter, different_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.artifact import Artifact
    from fastroute.onnx.model import TextModel
    from fastroute.routers.base import Contents
    from fastroute.routers.heads import Head

__all__ = ["GraphRouter", "located", "model_in"]


class GraphRouter(ReadsText, BaseRouter):
    """A router that reads text with a graph. A subclass sets `_model` and `_head`."""

    _head: Head

    @property
    def head(self) -> Head:
        """What the logits mean."""
        return self._head

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures of its training, as the artifact has them."""
        return dict(self._manifest.get("metrics", {}))

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

        Uses `fastroute.info().threads` threads without the GIL. An empty prompt has the score of the tokens that are
        added to every prompt, such as [CLS] and [SEP]; a prompt without any token that of a row of zeros.

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
            return float(self._head.scores(self._logits(self._model.row(prompts)[None]))[0])
        return self._head.scores(self._logits(self._model.rows(prompts, progress)))

    def _logits(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Logits of what the graph gives, a row for each."""
        return rows

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


def model_in(
    artifact: Artifact,
    encoder: object,
    *,
    outputs: tuple[str, ...],
    template: tuple[str, str] | None = None,
) -> TextModel:
    """Make the text model of a router's artifact.

    Raises
    ------
    EncoderMismatchError
        An encoder was given.
    ArtifactCorruptError
        A file is not listed, or the id of padding is none.
    DataError, InvalidArgumentError, InvalidTypeError
        A file or setting is not sound; the caller says whose.
    """
    from fastroute.onnx.model import TextModel

    manifest = artifact.manifest
    if encoder is not None:
        raise EncoderMismatchError(
            f"{artifact.path}: a {manifest['kind']} router reads text by itself; encoder= is not allowed"
        )
    for name in (GRAPH_FILE, TOKENIZER_FILE):
        if name not in artifact.files:
            raise ArtifactCorruptError(f"{artifact.path}: its manifest lists no {name}, which this router has")
    pad = manifest.get("pad")
    if pad is not None and type(pad) is not int:
        raise ArtifactCorruptError(f"{artifact.path}: pad is {pad!r:.60}; an id or null is needed")
    return TextModel(
        artifact.files[GRAPH_FILE],
        artifact.files[TOKENIZER_FILE],
        source=str(artifact.path),
        outputs=outputs,
        pooling="graph",
        max_tokens=checked_max_tokens(manifest.get("max_tokens")),
        pad=pad,
        template=template,
    )


def located(artifact: Artifact, error: Exception) -> str:
    """Text of an error, with the artifact's folder once."""
    text = str(error)
    return text if text.startswith(str(artifact.path)) else f"{artifact.path}: {text}"
