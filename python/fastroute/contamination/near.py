"""Texts that share runs of eight words: one asks what stands in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastroute.contamination.texts import question, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["FEWEST_WORDS", "SHINGLE", "near_pairs"]

SHINGLE = 8
"""Words of a run."""

FEWEST_WORDS = 6
"""Of a question, or as many parts between spaces; a shorter one stands in too many texts by chance."""

_SHORTEST_RUN = 3  # of what has six parts between spaces, but signs among them: "Find 3 - 5 ."

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 22  # matches of runs that are held at a time


class _Words(NamedTuple):
    """Words of all texts one after the other, as random numbers, and where each text begins and ends."""

    values: NDArray[np.uint64]
    bounds: NDArray[np.int64]


class _Runs(NamedTuple):
    """Distinct (run, text) pairs, by run and then by text."""

    run: NDArray[np.uint64]
    text: NDArray[np.int64]


def near_pairs(
    train: Sequence[str], evaluation: Sequence[str], *, containment: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs in which enough of one text's question stands in the other text.

    Enough is the share `containment` of the question's distinct runs of `SHINGLE` words; a question of fewer
    words, down to `FEWEST_WORDS`, is one run of its own. Containment, not
    Jaccard's index: instructions around a question, or other options below it, then take nothing away. It is
    tried both ways, and the larger of the two counts. Runs are told apart by 64-bit hashes.

    Returns
    -------
    tuple of numpy.ndarray
        Indices into `train` and into `evaluation`, and the containment, ascending.
    """
    numbers: dict[str, int] = {}
    whole_a, whole_b = (_numbered(map(words, texts), numbers) for texts in (train, evaluation))
    there = _contained(_questions(train, numbers), whole_b, containment)
    back = _contained(_questions(evaluation, numbers), whole_a, containment)
    first = np.concatenate([there[0], back[1]])
    second = np.concatenate([there[1], back[0]])
    share = np.concatenate([there[2], back[2]])
    order = np.lexsort((-share, second, first))
    first, second, share = first[order], second[order], share[order]
    new = np.ones(len(first), np.bool_)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new], share[new]


def _questions(texts: Sequence[str], numbers: dict[str, int]) -> _Words:
    """Words of the questions; none of those that are too short."""
    asked = [question(text) for text in texts]
    parts = [words(text) for text in asked]
    enough = [
        len(part) >= FEWEST_WORDS or (len(part) >= _SHORTEST_RUN and len(text.split()) >= FEWEST_WORDS)
        for part, text in zip(parts, asked, strict=True)
    ]
    return _numbered((part if long else [] for part, long in zip(parts, enough, strict=True)), numbers)


def _numbered(texts: Iterable[list[str]], numbers: dict[str, int]) -> _Words:
    ids: list[int] = []
    bounds = [0]
    for text in texts:
        ids.extend(numbers.setdefault(word, len(numbers)) for word in text)
        bounds.append(len(ids))
    return _Words(_scrambled(np.array(ids, dtype=np.uint64)), np.array(bounds, dtype=np.int64))


def _scrambled(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread small numbers over 64 bits, one to one (the finaliser of splitmix64: Steele et al., 2014)."""
    mixed = (ids + np.uint64(1)) * _MULTIPLIER
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


def _contained(
    asked: _Words, whole: _Words, containment: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Find pairs, by index, and the share of the runs of `asked` that stand in `whole`."""
    lengths, columns = np.diff(asked.bounds), len(whole.bounds) - 1
    parts = []
    for size in range(_SHORTEST_RUN, SHINGLE + 1):
        fits = lengths >= size if size == SHINGLE else lengths == size
        questions = _runs(asked, size, fits)
        if not len(questions.run):
            continue
        texts = _runs(whole, size, np.ones(columns, np.bool_), only=questions.run)
        needed = np.bincount(questions.text, minlength=len(lengths))
        for code, common in _common(questions, texts, columns):
            one, other = np.divmod(code, columns)
            share = common / needed[one]
            enough = share >= containment
            parts.append((one[enough], other[enough], share[enough]))
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    one, other, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    return one, other, share


def _runs(source: _Words, size: int, fits: NDArray[np.bool_], *, only: NDArray[np.uint64] | None = None) -> _Runs:
    """Distinct runs of `size` words of the texts that fit, those of `only` if it is given."""
    count = len(source.values) - size + 1
    if count <= 0:
        return _Runs(np.empty(0, np.uint64), np.empty(0, np.int64))
    run = np.zeros(count, np.uint64)
    for offset in range(size):
        run = run * _MULTIPLIER + source.values[offset : offset + count]
    lengths = np.diff(source.bounds)
    text = np.repeat(np.arange(len(lengths)), lengths)
    inside = (text[:count] == text[size - 1 :]) & fits[text[:count]]
    if only is not None:
        inside[inside] = np.isin(run[inside], only)
    run, text = run[inside], text[:count][inside]
    order = np.lexsort((text, run))
    run, text = run[order], text[order]
    new = np.ones(len(run), np.bool_)
    new[1:] = (run[1:] != run[:-1]) | (text[1:] != text[:-1])
    return _Runs(run[new], text[new])


def _common(questions: _Runs, texts: _Runs, columns: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield codes ``question * columns + text`` of pairs with runs in common, and how many those are.

    A question's pairs come together; questions are taken a block at a time, as a run may stand in many texts.
    """
    order = np.argsort(questions.text, kind="stable")
    run, asking = questions.run[order], questions.text[order]
    start = np.searchsorted(texts.run, run, side="left")
    matches = np.searchsorted(texts.run, run, side="right") - start
    before = np.concatenate([[0], np.cumsum(matches)])
    firsts = np.flatnonzero(np.diff(asking, prepend=-1, append=-1))
    low = 0
    while low < len(firsts) - 1:
        limit = before[firsts[low]] + _BLOCK
        high = max(low + 1, int(np.searchsorted(before[firsts], limit, side="right")) - 1)
        block = slice(firsts[low], firsts[high])
        low = high
        total = int(before[block.stop] - before[block.start])
        shift = np.repeat(start[block] - (before[block] - before[block.start]), matches[block])
        text = texts.text[np.arange(total) + shift]
        yield np.unique(np.repeat(asking[block], matches[block]) * columns + text, return_counts=True)
