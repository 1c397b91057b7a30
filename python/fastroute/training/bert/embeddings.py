"""Embeddings of prompts that are asked for several times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastroute.encoders import OnnxEncoder
    from fastroute.training.progress import Progress

__all__ = ["Embedded"]


class Embedded:
    """An encoder's embeddings, each worked out once.

    Parameters
    ----------
    encoder
        The encoder.
    prompts
        What to embed at the start, in one go.
    progress
        Called with (prompts done, prompts in all) meanwhile.
    """

    def __init__(self, encoder: OnnxEncoder, prompts: Sequence[str], progress: Progress | None = None) -> None:
        self._encoder = encoder
        distinct = list(dict.fromkeys(prompts))
        self._place = {prompt: place for place, prompt in enumerate(distinct)}
        self._rows = encoder.embed(distinct, progress=progress)

    def __call__(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings (n, d), float32."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._place]
        if new:
            self._place.update(zip(new, range(len(self._place), len(self._place) + len(new)), strict=True))
            self._rows = np.concatenate([self._rows, self._encoder.embed(new)])
        found: NDArray[np.float32] = self._rows[[self._place[prompt] for prompt in prompts]]
        return found
