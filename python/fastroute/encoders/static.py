"""The static encoder: WordPiece tokens, the mean of their rows in an int8 table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute import _core, builtin
from fastroute.artifact import ENCODER, Artifact, read_manifest, safetensors
from fastroute.encoders.wordpiece import parse_tokenizer
from fastroute.errors import ArtifactCorruptError, DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TABLE_FILE", "TOKENIZER_FILE", "StaticEncoder"]

TABLE_FILE = "encoder.safetensors"
TOKENIZER_FILE = "tokenizer.json"


class StaticEncoder:
    """A prompt's embedding is the mean over its tokens of ``scale[t] * embedding[t]``.

    Only the first `max_tokens` tokens count; a prompt without any has an embedding of zeros. Embeddings are
    the same bit for bit on every machine. The object never changes, and any number of threads may use it at
    once. `load_encoder` makes one, and a router has one as `router.encoder`.
    """

    def __init__(self, artifact: Artifact) -> None:
        manifest, folder = artifact.manifest, artifact.path
        if manifest["kind"] != "static":
            raise ArtifactCorruptError(f"{folder}: encoder of kind {manifest['kind']!r}; supported: 'static'")
        for name in (TABLE_FILE, TOKENIZER_FILE):
            if name not in artifact.files:
                raise ArtifactCorruptError(f"{folder}: its manifest lists no {name}, which a static encoder has")
        max_tokens = manifest.get("max_tokens")
        if type(max_tokens) is not int or not 1 <= max_tokens < 1 << 32:
            raise ArtifactCorruptError(f"{folder}: max_tokens is {max_tokens!r}; a positive integer is needed")
        source = str(folder / TABLE_FILE)
        tensors = safetensors.decode(artifact.files[TABLE_FILE], source=source)
        try:
            wordpiece = parse_tokenizer(artifact.files[TOKENIZER_FILE], source=str(folder / TOKENIZER_FILE))
            tokens = len(wordpiece.tokens)
            shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
                "embedding": ("int8", (tokens, None)),
                "scale": ("float32", (tokens,)),
            }
            table = {
                name: safetensors.expect_tensor(tensors, name, source=source, dtype=dtype, shape=shape)
                for name, (dtype, shape) in shapes.items()
            }
            self._tokenizer = wordpiece.native()
            self._native = _core.StaticEncoder(self._tokenizer, **table, max_tokens=max_tokens)
        except (DataError, InvalidArgumentError) as error:
            raise ArtifactCorruptError(f"{folder}: {error}") from error
        self._name, self._sha256 = str(manifest["name"]), artifact.sha256
        # A router bundles its encoder when saved, unless the encoder ships with the package.
        self._files: Mapping[str, bytes] = {} if is_builtin(artifact) else artifact.all_files()

    @property
    def name(self) -> str:
        """Name of the artifact."""
        return self._name

    @property
    def sha256(self) -> str:
        """Identity of the artifact."""
        return self._sha256

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._native.dim

    @property
    def max_tokens(self) -> int:
        """Tokens of a prompt after this many don't count."""
        return self._native.max_tokens

    @property
    def native(self) -> _core.StaticEncoder:
        """The native object, for routers that read text without going through embeddings."""
        return self._native

    def files(self) -> Mapping[str, bytes]:
        """Return the files to bundle with a router; none where the encoder is built in."""
        return self._files

    def embed(self, prompts: Iterable[str]) -> NDArray[np.float32]:
        """Embed prompts: float32, shape (n, dim). Uses `fastroute.info().threads` threads without the GIL.

        Lone surrogates count as U+FFFD, which the tokenizer drops as it drops control characters.

        Raises
        ------
        InvalidTypeError
            `prompts` is not an iterable of str, or a single str.
        """
        return self._native.embed(prompts)

    def tokenize(self, prompt: str, *, truncate: bool = False) -> list[int]:
        """Token ids of a prompt, without [CLS] and [SEP]; with `truncate`, only those that count.

        Equal to those of the `tokenizers` package with this encoder's `tokenizer.json`.

        Raises
        ------
        InvalidTypeError
            `prompt` is no str.
        """
        return self._tokenizer.encode(prompt, self.max_tokens if truncate else None)


def is_builtin(artifact: Artifact) -> bool:
    """Whether this very encoder ships with the package."""
    folder = builtin.find_encoder(str(artifact.manifest["name"]))
    return folder is not None and read_manifest(folder, format=ENCODER).sha256 == artifact.sha256
