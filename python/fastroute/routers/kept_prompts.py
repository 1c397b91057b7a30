"""Texts of an index's prompts, kept so that an explanation can show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["KeptPrompts", "keep_of"]


def keep_of(artifact: Artifact, allowed: Sequence[str]) -> str | None:
    """Read what an artifact keeps for explanations: one of these, or nothing where there are none."""
    keep = artifact.manifest.get("kept")
    if (keep not in allowed) if allowed else (keep is not None):
        raise ArtifactCorruptError(f"{artifact.path}: kept is {keep!r}, which its files don't bear out")
    return None if keep is None else str(keep)


@dataclass(frozen=True, slots=True)
class KeptPrompts:
    """P texts, one after the other.

    Attributes
    ----------
    text
        (n,) uint8: UTF-8, which may hold lone surrogates as Python's strings do.
    ends
        (P,) int64: where each one ends.
    """

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @staticmethod
    def of(texts: Iterable[str]) -> KeptPrompts:
        """Keep these."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
        return KeptPrompts(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int | np.int64) -> str:
        begin = int(self.ends[row - 1]) if row else 0
        return self.text[begin : int(self.ends[row])].tobytes().decode("utf-8", "surrogatepass")

    def take(self, rows: NDArray[np.int64]) -> KeptPrompts:
        """Keep these rows, in this order."""
        return KeptPrompts.of(self[row] for row in rows.tolist())

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays by the names that `read` looks for."""
        return {"text": self.text, "ends": self.ends}

    @staticmethod
    def read(tensors: Mapping[str, NDArray[Any]], *, source: str, count: int) -> KeptPrompts:
        """Check what a file holds: `count` texts that are UTF-8."""
        text = safetensors.expect_tensor(tensors, "text", source=source, dtype="uint8", shape=(None,)).copy()
        ends = safetensors.expect_tensor(tensors, "ends", source=source, dtype="int64", shape=(count,)).copy()
        steps = np.diff(ends, prepend=0)
        if (steps < 0).any() or (int(ends[-1]) if count else 0) != len(text):
            raise ArtifactCorruptError(f"{source}: tensor 'ends' does not rise to the {len(text)} bytes of 'text'")
        kept = KeptPrompts(text, ends)
        try:
            for row in range(count):
                kept[row]
        except UnicodeDecodeError as error:
            raise ArtifactCorruptError(f"{source}: tensor 'text': prompt {row} is not UTF-8: {error.reason}") from error
        return kept
