"""The surface features as their table defines them (docs/surface-features.md), one regular expression at a time."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_LETTERS = re.compile(r"[A-Za-z]+")
_OPTION = re.compile(r"(?:^|(?<=\n))[ \t]*\(?([A-Z])[.):][ \t]")
_SPACE = " \t\n\v\f\r"


def value_of(number: str) -> float:
    whole, *fractions = number.replace(",", "").split(".")
    return min(float(f"{whole}.{fractions[0]}" if fractions else whole), 1e12)


def surface_features(text: str, word_lists: dict[str, tuple[str, ...]]) -> list[float]:
    text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    characters = len(text)
    words = [word for word in re.split(f"[{_SPACE}]", text) if word]
    numbers = _NUMBER.findall(text)
    first, options = None, 0
    for option in _OPTION.finditer(text):
        if options < 26 and option.group(1) == chr(ord("A") + options):
            first = option.start(1) if first is None else first
            options += 1
    if options < 2:
        first, options = None, 0
    before = characters if first is None else first
    letters = [run.lower() for run in _LETTERS.findall(text)]
    stripped = text.rstrip(_SPACE)

    def count(symbols: str) -> int:
        return sum(text.count(symbol) for symbol in symbols)

    def share(some: int) -> float:
        return some / max(characters, 1)

    return [
        math.log1p(characters),
        math.log1p(len(words)),
        characters / max(len(words), 1),
        math.log1p(len(numbers)),
        share(len(re.findall("[0-9]", text))),
        math.log1p(max(map(value_of, numbers), default=0.0)),
        share(len(re.findall("[A-Z]", text))),
        math.log1p(text.count("?")),
        min(text.count("\n"), 30),
        math.log1p(count("=+-*/^<>()")),
        math.log1p(count("\\$_{}")),
        math.log1p(text.count("```") + text.count(";")),
        float(options > 0),
        float(options),
        math.log1p(before),
        math.log1p(characters - before),
        share(sum(ord(c) > 127 for c in text)),
        math.log1p(text.count(".")),
        *(math.log1p(sum(run in set(listed) for run in letters)) for listed in word_lists.values()),
        float(stripped.endswith("?")),
        float("%" in text),
        float(any(quote in text for quote in '"\u201c\u201d')),
    ]
