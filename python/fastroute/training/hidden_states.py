"""Rows that a text model gives prompts, kept in a file as they are worked out."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from fastroute.artifact import atomic_file
from fastroute.artifact.folder import checked_path
from fastroute.errors import DataError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fastroute.onnx.model import TextModel
    from fastroute.training.progress import Progress

__all__ = ["hidden_states"]

_PART = 64  # prompts that a killed run loses at most
_DIGEST = 32
_CHECK = 16


def hidden_states(
    model: TextModel,
    prompts: Sequence[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Rows of prompts, (n, width) float32; those that the cache has are not worked out again.

    Parameters
    ----------
    cache
        A folder. Its file is named for the graph, the tokenizer and its settings, and holds digests of prompts with
        their rows and a digest of both. One process at a time may write it; what a killed one left half-written is
        dropped, and so is what does not agree with its digest: it is worked out again.
    progress
        Called with (prompts done, prompts in all).

    Raises
    ------
    DataError
        The cache can't be read or written, or the graph fails.
    """
    if cache is None:
        return model.rows(prompts, progress)
    folder = checked_path(cache, "cache")
    record = np.dtype([("digest", np.void, _DIGEST), ("row", "<f4", (model.width,)), ("check", np.void, _CHECK)])
    digests = [hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest() for prompt in prompts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"states-{_identity(model)}.f32"
        known = _read(path, record)
        missing = sorted(
            {digest: place for place, digest in enumerate(digests) if digest not in known}.values(),
            key=lambda place: len(prompts[place]),
        )
        done = len(prompts) - len(missing)
        for begin in range(0, len(missing), _PART):
            part = missing[begin : begin + _PART]
            made = np.zeros(len(part), record)
            made["digest"] = [np.void(digests[place]) for place in part]
            made["row"] = model.rows([prompts[place] for place in part])
            made["check"] = [np.void(_check_of(each)) for each in made]
            with path.open("ab") as file:
                file.write(made.tobytes())
            known.update((digests[place], row) for place, row in zip(part, made["row"], strict=True))
            done += len(part)
            if progress is not None:
                progress(done, len(prompts))
    except OSError as error:
        raise DataError(f"cache: {folder} can't be used: {error}") from error
    return np.array([known[digest] for digest in digests], np.float32).reshape(len(prompts), model.width)


def _identity(model: TextModel) -> str:
    digest = hashlib.sha256()
    for raw in (model.graph, model.tokenizer_file, json.dumps([model.template, model.tokenizer.max_tokens]).encode()):
        digest.update(hashlib.sha256(raw).digest())
    return digest.hexdigest()[:16]


def _check_of(entry: np.void) -> bytes:
    """Digest of an entry's prompt and row."""
    return hashlib.sha256(entry["digest"].tobytes() + entry["row"].tobytes()).digest()[:_CHECK]


def _read(path: Path, record: np.dtype[np.void]) -> dict[bytes, NDArray[np.float32]]:
    """Rows by their prompts' digests; what is cut short or was altered is removed from the file."""
    if not path.is_file():
        return {}
    raw = path.read_bytes()
    found = np.frombuffer(raw, record, len(raw) // record.itemsize)
    sound = np.array([each["check"].tobytes() == _check_of(each) for each in found], np.bool_)
    sound &= np.isfinite(found["row"]).all(axis=1)
    kept = found[sound]
    if len(kept) * record.itemsize < len(raw):
        with atomic_file(path) as file:
            file.write(kept.tobytes())
    return {each["digest"].tobytes(): each["row"] for each in kept}
