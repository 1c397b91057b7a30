"""What an answer without knowledge scores: the guess rate of a prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["guess_rates", "lettered_options"]

_OPTION = re.compile(r"^[ \t]*\(?([A-Z])[.):][ \t]", re.MULTILINE)


def lettered_options(prompt: str) -> int:
    """How many lettered options a multiple-choice prompt gives; 0 where it gives none.

    They begin lines as ``A. ``, ``A) ``, ``A: `` or ``(A) ``, in the order of the alphabet from A on. Of several such
    lists, those of examples come first: the last one counts.
    """
    options = found = 0
    for match in _OPTION.finditer(prompt):
        place = ord(match[1]) - ord("A")
        found = place + 1 if place in (0, found) else 0
        if found > 1:
            options = found
    return options


def guess_rates(prompts: Sequence[str]) -> NDArray[np.float64]:
    """One over the number of lettered options, 0 for prompts without; float64 (n,)."""
    options = np.array([lettered_options(prompt) for prompt in prompts], np.float64)
    return np.divide(1.0, options, out=np.zeros(len(options)), where=options > 1)
