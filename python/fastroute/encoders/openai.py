"""Embeddings of an OpenAI-compatible API."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact import ENCODER, Artifact, write_artifact
from fastroute.artifact.folder import checked_path
from fastroute.artifact.manifest import manifest_name, seal_manifest
from fastroute.encoders.embedding_cache import DiskCache, MemoryCache, text_key
from fastroute.endpoints.counting import Count
from fastroute.endpoints.patience import Patience
from fastroute.endpoints.service import Service
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError
from fastroute.onnx.arguments import checked_prompts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["OpenAIEncoder"]

OPENAI: Final = "https://api.openai.com/v1"
_DIMENSIONS: Final = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
_MOST_DIMENSIONS: Final = 1 << 16
_BYTES_PER_TOKEN: Final = 3
_BYTES_PER_NUMBER: Final = 32  # of JSON, and generous
_BYTES_BESIDE: Final = 1 << 20
_MOST_BYTES: Final = 256 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")
_MEMBERS: Final = (
    "model", "dimensions", "max_characters", "dim", "base_url", "key_env", "batch_texts", "batch_tokens", "patience",
)  # fmt: skip
_ALLOWED: Final = "pass an OpenAIEncoder of your own as encoder="
_log = logging.getLogger(__name__)


class OpenAIEncoder:
    """Text to vector by ``POST {base_url}/embeddings``: OpenAI, or vLLM, llama.cpp and others that answer alike.

    Texts go to that endpoint and nowhere else. `load_encoder` makes one of an artifact without any request, and a
    router that was trained with it carries it. Needs ``pip install 'fastroute[endpoint]'`` for the first request. Any
    number of threads may use it at once, also while they run an event loop; a forked child opens its own connections.

    Its identity, `sha256`, covers the model, the dimensions and `max_characters`, not the URL, the key or anything
    else: an encoder of the same model behind a proxy is the same encoder. The key itself is in no file or message.

    An empty prompt is sent as a single space, since OpenAI refuses empty ones; lone surrogates count as U+FFFD.
    What an endpoint gives for one text may differ in the last bits from call to call; a cache gives the same bits.

    Parameters
    ----------
    model
        Name of the model, in requests.
    base_url
        Base of the API; ``/embeddings`` is appended. Plain http takes no key unless the host is this machine.
    key_env
        Name of the environment variable that holds the API key, such as "OPENAI_API_KEY"; None sends none.
    dimensions
        Asked for in requests, for models that can shorten their embeddings; None asks for none.
    dim
        Length of an embedding. Where None: `dimensions`, what is known of OpenAI's models, or else what the first
        answer has.
    max_characters
        Characters of a prompt after this many don't count, since APIs refuse texts that are too long (8,192 tokens at
        OpenAI, which 24,000 characters of English are within). `truncated` counts the prompts that were cut.
    batch_texts
        Texts of one request; OpenAI takes 2,048 at most.
    batch_tokens
        Tokens of one request, estimated as one for three bytes; a longer text is a request of its own. At the default
        even one token per byte is within OpenAI's 300,000.
    timeout, tries, backoff, longest_wait, concurrency
        Seconds for one try; how often a request is sent; seconds before the second try, at most, doubled for each one
        after it and drawn at random; seconds that a Retry-After is waited for; requests under way at once. 408, 409,
        429, 5xx, timeouts, broken connections and malformed answers are tried again.
    cache_entries
        Embeddings kept in memory, those used last, by a hash of their text; 0 for none.
    cache_folder
        Folder that keeps every embedding, one file each, by a hash of its text; any number of processes may share it.
        It is no part of an artifact.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        One of them has a type or value that is not allowed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = OPENAI,
        key_env: str | None = None,
        dimensions: int | None = None,
        dim: int | None = None,
        max_characters: int = 24_000,
        batch_texts: int = 128,
        batch_tokens: int = 100_000,
        timeout: float = 60.0,
        tries: int = 5,
        backoff: float = 0.5,
        longest_wait: float = 60.0,
        concurrency: int = 8,
        cache_entries: int = 1024,
        cache_folder: str | os.PathLike[str] | None = None,
    ) -> None:
        patience = Patience(
            timeout=timeout, tries=tries, backoff=backoff, longest_wait=longest_wait, concurrency=concurrency
        )
        self._set(
            model=model,
            dimensions=dimensions,
            max_characters=max_characters,
            dim=dim,
            batch_texts=batch_texts,
            batch_tokens=batch_tokens,
        )
        self._service = Service(base_url, key_env, patience)
        self._memory = MemoryCache(_whole("cache_entries", cache_entries, least=0, most=1 << 24))
        self._disk = None if cache_folder is None else DiskCache(checked_path(cache_folder, "cache_folder"))

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> OpenAIEncoder:
        """Make an encoder of a verified artifact; `load_encoder` calls this. Nothing is sent."""
        manifest, folder = artifact.manifest, artifact.path
        missing = [name for name in _MEMBERS if name not in manifest]
        more = [name for name in manifest if name not in (*_MEMBERS, "kind", "name", *_WRITERS)]
        if missing or more or artifact.files:
            found = [*missing, *more, *artifact.files][0]
            raise ArtifactCorruptError(
                f"{folder}: {found!r:.60} is {'missing' if missing else 'unknown'}; an openai encoder has "
                f"{', '.join(_MEMBERS)}, and no files"
            )
        if manifest["name"] != manifest["model"]:
            raise ArtifactCorruptError(
                f"{folder}: name is {manifest['name']!r}; an openai encoder has its model's name"
            )
        if manifest["dim"] is None:  # or the first use, at loading, would ask for it
            raise ArtifactCorruptError(f"{folder}: dim is null; a whole number is needed")
        saved: dict[str, Any] = {name: manifest[name] for name in _MEMBERS}
        encoder = cls.__new__(cls)
        try:
            encoder._set(**{name: saved[name] for name in _SETTINGS})
            encoder._service = Service(
                saved["base_url"], saved["key_env"], Patience.from_manifest(saved["patience"]), unless_named=_ALLOWED
            )
        except (InvalidTypeError, InvalidArgumentError) as error:
            raise ArtifactCorruptError(f"{folder}: {error}") from error
        encoder._memory, encoder._disk = MemoryCache(1024), None
        return encoder

    def _set(
        self,
        *,
        model: str,
        dimensions: int | None,
        max_characters: int,
        dim: int | None,
        batch_texts: int,
        batch_tokens: int,
    ) -> None:
        if not isinstance(model, str):
            raise InvalidTypeError(f"model: found {type(model).__name__}, allowed: the name of a model")
        if not 0 < len(model) <= 256 or not model.isprintable():
            raise InvalidArgumentError(f"model: found {model!r:.60}, allowed: 1 to 256 printable characters")
        for argument, value in (("dimensions", dimensions), ("dim", dim)):
            if value is not None:
                _whole(argument, value, least=1, most=_MOST_DIMENSIONS)
        if dim is not None and dimensions is not None and dim != dimensions:
            raise InvalidArgumentError(f"dim: found {dim}, allowed: {dimensions}, which dimensions= asks for")
        self._model = model
        self._dimensions = dimensions
        self._dim = dim or dimensions or _DIMENSIONS.get(model)
        self._max_characters = _whole("max_characters", max_characters, least=1, most=1 << 24)
        self._batch_texts = _whole("batch_texts", batch_texts, least=1, most=1 << 14)
        self._batch_tokens = _whole("batch_tokens", batch_tokens, least=1, most=1 << 24)
        # Of these values alone, not of how a manifest is laid out: routers hold it for good.
        self._sha256 = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()
        self._truncated = Count()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model

    @property
    def sha256(self) -> str:
        """Identity: of the model, the dimensions and `max_characters`, wherever they are asked."""
        return self._sha256

    @property
    def dim(self) -> int:
        """Length of an embedding. Where nothing has told it so far, a space is embedded to find out."""
        if self._dim is None:
            self.embed([" "])
        assert self._dim is not None
        return self._dim

    @property
    def base_url(self) -> str:
        """Base of the API."""
        return self._service.base_url

    @property
    def truncated(self) -> int:
        """How many prompts have been cut at `max_characters` so far, in all threads of this process."""
        return self._truncated.value

    def known_by(self, artifact: Artifact) -> OpenAIEncoder:
        """Return this encoder, with its length as an artifact of the same identity has it; nothing is sent."""
        if self._dim is None:
            bundled = type(self).from_artifact(artifact)
            if bundled.sha256 == self.sha256:
                self._dim = bundled._dim
        return self

    def files(self) -> Mapping[str, bytes]:
        """Return the files to bundle with a router."""
        return {manifest_name(ENCODER): seal_manifest(self._manifest, {}, format=ENCODER).document}

    def embed(
        self, prompts: Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Embed prompts: float32, shape (n, dim), finite. Each text is sent once, and only if no cache has it.

        Parameters
        ----------
        prompts
            An iterable of n str.
        progress
            Called with (prompts done, prompts in all) after each request, in this thread.

        Raises
        ------
        InvalidTypeError
            `prompts` is not an iterable of str, or a single str.
        EndpointError
            There is no answer, or it is not one embedding of `dim` finite numbers for each text. What was answered
            before is in the caches.
        InvalidArgumentError
            The key is not in the environment; or an artifact names a host that the user did not.
        MissingDependencyError
            aiohttp is not installed.
        """
        given = checked_prompts(prompts)
        texts = [self._text(prompt) for prompt in given]
        places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(text, []).append(place)
        rows: dict[str, NDArray[np.float32]] = {}
        for text in places:
            found = self._cached(text_key(self._sha256, text))
            if found is not None:
                rows[text] = found
        done = sum(len(places[text]) for text in rows)
        self._truncated.add(sum(len(prompt) > self._max_characters for prompt in given))
        if progress is not None and done:
            progress(done, len(given))
        unwritten: OSError | None = None

        def store(batch: Sequence[str], answered: NDArray[np.float32]) -> None:
            nonlocal done, unwritten
            for text, row in zip(batch, answered, strict=True):
                rows[text] = row
                try:
                    self._keep(text_key(self._sha256, text), row)
                except OSError as error:
                    unwritten = error
                done += len(places[text])
            if progress is not None:
                progress(done, len(given))

        self._ask([text for text in places if text not in rows], store)
        if unwritten is not None:
            _log.warning("the cache folder can't be written: %s", unwritten.strerror or type(unwritten).__name__)
        embedded = np.empty((len(given), self.dim), np.float32)
        for text, where in places.items():
            embedded[where] = rows[text]
        return embedded

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the encoder to a folder, whole or not at all, and return its identity; `load_encoder` reads it.

        The URL and the name of the key's variable are written, the key is not. So is `dim`, which is asked for where
        nothing has told it so far.

        Raises
        ------
        ArtifactError
            `path` holds something else, or can't be written.
        EndpointError
            There is no answer that tells `dim`.
        """
        write_artifact(path, format=ENCODER, manifest=self._manifest, files={})
        return self._sha256

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "kind": "openai",
            "name": self._model,
            "model": self._model,
            "dimensions": self._dimensions,
            "max_characters": self._max_characters,
        }

    @property
    def _manifest(self) -> dict[str, Any]:
        return {
            **self._identity,
            "dim": self.dim,
            "base_url": self._service.base_url,
            "key_env": self._service.key_env,
            "batch_texts": self._batch_texts,
            "batch_tokens": self._batch_tokens,
            "patience": self._service.patience.manifest(),
        }

    def _text(self, prompt: str) -> str:
        return _SURROGATE.sub("\ufffd", prompt[: self._max_characters]) or " "

    def _cached(self, key: str) -> NDArray[np.float32] | None:
        row = self._memory.get(key)
        if row is None and self._disk is not None:
            row = self._disk.get(key, self._dim)
            if row is not None and self._fits(len(row)):
                self._memory.put(key, row)
        return row if row is not None and self._fits(len(row)) else None

    def _keep(self, key: str, row: NDArray[np.float32]) -> None:
        self._memory.put(key, row)
        if self._disk is not None:
            self._disk.put(key, row)

    def _fits(self, length: int) -> bool:
        """Whether an embedding may have this length; the first one decides."""
        self._dim = self._dim or length
        return self._dim == length

    def _ask(self, texts: Sequence[str], store: Callable[[Sequence[str], NDArray[np.float32]], None]) -> None:
        batches = list(_batches(texts, self._batch_texts, self._batch_tokens))
        asked = {} if self._dimensions is None else {"dimensions": self._dimensions}
        largest = max(map(len, batches), default=0)
        self._service.ask_all(
            "/embeddings",
            len(batches),
            lambda index: {"model": self._model, "input": batches[index], **asked},
            lambda index, answer: self._read(batches[index], answer),
            on_answer=lambda index, rows: store(batches[index], rows),
            most_bytes=min(_BYTES_BESIDE + largest * (self._dim or _MOST_DIMENSIONS) * _BYTES_PER_NUMBER, _MOST_BYTES),
        )

    def _read(self, batch: Sequence[str], answer: Any) -> NDArray[np.float32]:
        """Take the embeddings of a batch out of an answer, in order of `index`."""
        entries = answer["data"]
        by_index = {entry["index"]: entry["embedding"] for entry in entries}
        if not all(type(index) is int for index in by_index) or sorted(by_index) != list(range(len(batch))):
            raise ValueError("indices")
        if len(entries) != len(batch):
            raise ValueError("entries")
        rows = [by_index[index] for index in range(len(batch))]
        for row in rows:
            if not isinstance(row, list) or not row or not set(map(type, row)) <= {int, float}:
                raise ValueError("numbers")
        if len({len(row) for row in rows}) > 1:
            raise ValueError("lengths")
        if not self._fits(len(rows[0])):
            raise _no_such_dimension(len(rows[0]), self._dim)
        with np.errstate(over="ignore"):
            embedded = np.array(rows, np.float64).astype(np.float32)
        if not np.isfinite(embedded).all():
            raise ValueError("finite")
        return embedded


_SETTINGS: Final = ("model", "dimensions", "max_characters", "dim", "batch_texts", "batch_tokens")
_WRITERS: Final = ("format", "format_version", "files", "sha256")


def _no_such_dimension(found: int, wanted: int | None) -> Exception:
    from fastroute.endpoints.exchange import ExchangeError

    return ExchangeError(f"embeddings of {found} dimensions; this encoder has {wanted}", transient=False, billed=True)


def _batches(texts: Sequence[str], most_texts: int, most_tokens: int) -> Iterable[list[str]]:
    """Divide texts into requests, in order."""
    batch: list[str] = []
    tokens = 0
    for text in texts:
        size = len(text.encode()) // _BYTES_PER_TOKEN + 1
        if batch and (len(batch) == most_texts or tokens + size > most_tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += size
    if batch:
        yield batch


def _whole(argument: str, value: object, *, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: an int")
    if not least <= value <= most:
        found = value if abs(value) < 1 << 64 else "an int of many digits"
        raise InvalidArgumentError(f"{argument}: found {found}, allowed: {least:,} to {most:,}")
    return value
