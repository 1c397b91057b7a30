"""The same question with fewer lettered options: what an expert learns of ten it should know of four."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["fewer_options"]

# As the surface features see options (docs/surface-features.md): a line that begins with "A. ", "(A) " or "A: ".
_OPTION = re.compile(r"^([ \t]*\(?)([A-Z])([.):][ \t])", re.MULTILINE)
_FEWEST = 3
_KEPT = (3, 4, 4, 4, 5, 6)  # four is what most tests have


def fewer_options(prompt: str, generator: np.random.Generator) -> str | None:
    """Keep some of a prompt's options, in their order, lettered anew; None where it has none to spare.

    What follows an option up to the next one goes with it.
    """
    options: list[re.Match[str]] = []
    for found in _OPTION.finditer(prompt):
        if len(options) < 26 and found.group(2) == chr(ord("A") + len(options)):
            options.append(found)
    count = int(generator.choice(_KEPT))
    if len(options) <= count or len(options) < _FEWEST:
        return None
    ends = [each.start() for each in options[1:]] + [len(prompt)]
    kept = sorted(generator.choice(len(options), count, replace=False).tolist())
    parts = [prompt[: options[0].start()]]
    for letter, index in enumerate(kept):
        opening, _, closing = options[index].groups()
        parts.append(f"{opening}{chr(ord('A') + letter)}{closing}{prompt[options[index].end() : ends[index]]}")
    return "".join(parts).rstrip("\n") + ("\n" if prompt.endswith("\n") else "")
