"""Sentence encoders on ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact import ENCODER, Artifact, write_artifact
from fastroute.artifact.manifest import seal_manifest
from fastroute.errors import ArtifactCorruptError, DataError, InvalidArgumentError, InvalidTypeError
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE
from fastroute.onnx.arguments import MOST_TOKENS, POOLINGS, checked_device, checked_max_tokens
from fastroute.onnx.reading import ReadsText

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["OnnxEncoder"]

_OUTPUTS: Final = ("sentence_embedding", "last_hidden_state")
_SETTINGS: Final = ("pooling", "normalise", "max_tokens", "pad")


class OnnxEncoder(ReadsText):
    """A transformer's sentence embedding: hidden states, pooled over a prompt's tokens, of length 1 if so asked.

    `load_encoder` makes one of an artifact, `from_folder` of a local folder with an ONNX export. Needs ``pip install
    'fastroute[bert]'``, or ``'fastroute[gpu]'`` for ``to("cuda")``. The object never changes but for its count of
    truncated prompts, and any number of threads may use it at once.

    A prompt has the same embedding alone and in a batch, within 1e-5 for a float32 graph: padding is masked out.
    A graph quantised by ``quantize_dynamic`` runs prompts one by one, so that theirs are the same bit for bit.
    An empty prompt has the embedding of the tokens that the tokenizer adds, such as [CLS] and [SEP]; a prompt without
    any token has zeros.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu") -> None:
        from fastroute.onnx.model import TextModel

        manifest, folder = artifact.manifest, artifact.path
        if manifest["kind"] != "onnx":
            raise ArtifactCorruptError(f"{folder}: encoder of kind {manifest['kind']!r}; supported here: 'onnx'")
        for name in (GRAPH_FILE, TOKENIZER_FILE):
            if name not in artifact.files:
                raise ArtifactCorruptError(f"{folder}: its manifest lists no {name}, which an onnx encoder has")
        settings: dict[str, Any] = {name: manifest.get(name) for name in _SETTINGS}
        _check_settings(settings, folder)
        try:
            self._model = TextModel(
                artifact.files[GRAPH_FILE],
                artifact.files[TOKENIZER_FILE],
                source=str(folder),
                outputs=_OUTPUTS,
                pooling=settings["pooling"],
                max_tokens=settings["max_tokens"],
                pad=settings["pad"],
                device=checked_device(device),
            )
        except DataError as error:
            raise ArtifactCorruptError(str(error)) from error
        self._normalise = settings["normalise"] is True
        self._name, self._sha256 = str(manifest["name"]), artifact.sha256
        self._manifest = {key: value for key, value in manifest.items() if key not in _WRITERS}
        self._files: Mapping[str, bytes] = artifact.all_files()

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        *,
        pooling: str | None = None,
        normalise: bool = True,
        max_tokens: int | None = None,
        device: str = "cpu",
    ) -> OnnxEncoder:
        """Make an encoder of a local folder with an ONNX export.

        Parameters
        ----------
        path
            Holds `model.onnx` or `onnx/model.onnx`, with all of its data in it, and `tokenizer.json`; `config.json`,
            `sentence_bert_config.json` and `1_Pooling/config.json` are read where they are there.
        pooling
            "mean" over the tokens, or "cls", the first one; what the folder says where None. A graph with the output
            `sentence_embedding`, or one row per prompt, pools by itself.
        normalise
            Scale embeddings to length 1.
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
            An argument has a type or value that is not allowed; the graph has fewer positions than `max_tokens`.
        MissingDependencyError
            ONNX Runtime or `tokenizers` is not installed, or the device needs something that is not.
        """
        from fastroute.onnx.folder import read_folder, read_pooling

        if pooling not in (None, "mean", "cls"):
            raise InvalidArgumentError(f"pooling: found {pooling!r:.60}, allowed: 'mean', 'cls' or None")
        if not isinstance(normalise, bool):
            raise InvalidTypeError(f"normalise: found {type(normalise).__name__}, allowed: a bool")
        tokens = None if max_tokens is None else checked_max_tokens(max_tokens)
        wanted = checked_device(device)
        found = read_folder(path)
        values = {
            "kind": "onnx",
            "name": found.name,
            "pooling": pooling or read_pooling(found.path),
            "normalise": normalise,
            "max_tokens": tokens or found.max_tokens,
            "pad": found.pad,
        }
        files = {GRAPH_FILE: found.graph, TOKENIZER_FILE: found.tokenizer}
        sealed = seal_manifest(values, files, format=ENCODER)
        try:
            made = cls(Artifact(found.path, sealed.values, sealed.sha256, files, sealed.document), device=wanted)
        except ArtifactCorruptError as error:
            raise DataError(str(error)) from error
        made._model.check_vocabulary(found.config.get("vocab_size"))
        made._model.check_longest()
        return made

    @property
    def name(self) -> str:
        """Name of the artifact, or of the folder."""
        return self._name

    @property
    def sha256(self) -> str:
        """Identity: of the artifact, or of the one that `save` would write."""
        return self._sha256

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._model.width

    def files(self) -> Mapping[str, bytes]:
        """Return the files to bundle with a router."""
        return self._files

    def embed(
        self, prompts: Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Embed prompts: float32, shape (n, dim), finite. Uses `fastroute.info().threads` threads without the GIL.

        Lone surrogates count as U+FFFD.

        Parameters
        ----------
        prompts
            An iterable of n str.
        progress
            Called with (prompts done, prompts in all) after each batch.

        Raises
        ------
        InvalidTypeError
            `prompts` is not an iterable of str, or a single str.
        DataError
            The graph gives NaN, or fails.
        """
        embeddings = self._model.rows(prompts, progress)
        if self._normalise:
            lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings /= np.where(lengths > 0, lengths, 1)
        return embeddings

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the encoder to a folder, whole or not at all, and return its SHA-256; `load_encoder` reads it.

        Raises
        ------
        ArtifactError
            `path` holds something else, or can't be written.
        """
        files = {name: self._files[name] for name in (GRAPH_FILE, TOKENIZER_FILE)}
        return write_artifact(path, format=ENCODER, manifest=self._manifest, files=files)


_WRITERS = ("format", "format_version", "files", "sha256")


def _check_settings(settings: Mapping[str, Any], folder: object) -> None:
    tokens, pad = settings["max_tokens"], settings["pad"]
    if settings["pooling"] not in POOLINGS:
        raise ArtifactCorruptError(f"{folder}: pooling is {settings['pooling']!r:.60}; one of {', '.join(POOLINGS)}")
    if not isinstance(settings["normalise"], bool):
        raise ArtifactCorruptError(f"{folder}: normalise is {settings['normalise']!r:.60}; true or false is needed")
    if type(tokens) is not int or not 1 <= tokens <= MOST_TOKENS:
        raise ArtifactCorruptError(f"{folder}: max_tokens is {tokens!r:.60}; 1 to {MOST_TOKENS} is needed")
    if pad is not None and type(pad) is not int:
        raise ArtifactCorruptError(f"{folder}: pad is {pad!r:.60}; an id or null is needed")
