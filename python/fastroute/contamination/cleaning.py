"""A training file without what an evaluation set shares with it."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.batch.compression import Compressor, compression_of
from fastroute.batch.endpoints import check_endpoints
from fastroute.batch.formats import resolve_format
from fastroute.batch.selecting import copy_rows, iterate_prompts
from fastroute.contamination.pairs import CONTAINMENT, COSINE, METHODS, Pair, find_pairs
from fastroute.contamination.sources import DistinctTexts, EvalSet, read_eval_set
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastroute.contamination.semantic import Engine
    from fastroute.encoders import Encoder

__all__ = ["Cleaning", "decontaminate"]

_SHOWN = 300  # characters of a text in the file of pairs
_PAIR_COLUMNS = (
    *("train_row", "train_rows", "eval_file", "eval_row", "eval_rows"),
    *("method", "similarity", "train_text", "eval_text"),
)
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PAIR_SUFFIXES = (".jsonl", ".ndjson", *_DELIMITERS)


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What was found and done.

    Attributes
    ----------
    train_rows, train_texts
        Rows of the training file, and distinct prompts among them.
    eval_rows, eval_texts
        The same of the evaluation.
    pairs
        Method to number of pairs of distinct texts; a pair counts for the surest method that finds it.
    removed_texts
        Method to number of distinct training texts, each counted for the surest method that finds it.
    removed_rows
        Rows of the training file that are left out of the clean one.
    """

    train_rows: int
    train_texts: int
    eval_rows: int
    eval_texts: int
    pairs: dict[str, int]
    removed_texts: dict[str, int]
    removed_rows: int


def decontaminate(
    train: str | os.PathLike[str],
    evaluation: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    pairs: str | os.PathLike[str] | None = None,
    column: str = "prompt",
    eval_column: str = "prompt",
    methods: Sequence[str] = METHODS,
    cosine: float = COSINE,
    containment: float = CONTAINMENT,
    encoder: Encoder | None = None,
    engine: Engine = "auto",
    overwrite: bool = False,
) -> Cleaning:
    """Find what a training file shares with an evaluation, and write the training file without it.

    Parameters
    ----------
    train
        .jsonl, .ndjson, .csv, .tsv or .parquet.
    evaluation
        As `read_eval_set` takes it.
    output
        Gets the rows of `train` of which no pair was found: format, columns and order stay.
    pairs
        .jsonl, .ndjson, .csv or .tsv; one row per pair of distinct texts: the first row of each in its file,
        from 0, the number of rows with that very text, the method, the similarity and the beginning of both
        texts. Both outputs appear complete or not at all.
    column, eval_column
        Of the prompts.
    methods, cosine, containment, encoder, engine
        See `find_pairs`.
    overwrite
        Whether outputs that exist may be replaced.

    Raises
    ------
    InvalidArgumentError, DataError, MissingDependencyError
        See `read_eval_set` and `find_pairs`; also for an output that can't serve.
    ArtifactError
        An output that can't be written.
    """
    source, target, listed = os.fspath(train), _text(output), _text(pairs)
    _check_outputs(source, os.fspath(evaluation), target, listed, overwrite=overwrite)
    eval_set = read_eval_set(evaluation, column=eval_column)
    known = DistinctTexts.of(iterate_prompts(source, column))
    asked = DistinctTexts.of(eval_set.prompts)
    found = find_pairs(
        known.texts,
        asked.texts,
        methods=methods,
        cosine=cosine,
        containment=containment,
        encoder=encoder,
        engine=engine,
    )
    hit = np.zeros(len(known.texts), np.bool_)
    hit[[pair.train for pair in found]] = True
    keep = ~hit[known.codes] if known.codes else np.empty(0, np.bool_)
    rows = _rows(found, known, asked, eval_set)
    _write(source, column, target=target, listed=listed, keep=keep, rows=rows)
    surest: dict[int, str] = {}
    for pair in sorted(found, key=lambda pair: METHODS.index(pair.method)):
        surest.setdefault(pair.train, pair.method)
    chosen = [method for method in METHODS if method in methods]
    return Cleaning(
        train_rows=len(known.codes),
        train_texts=len(known.texts),
        eval_rows=len(asked.codes),
        eval_texts=len(asked.texts),
        pairs={method: sum(pair.method == method for pair in found) for method in chosen},
        removed_texts={method: sum(of == method for of in surest.values()) for method in chosen},
        removed_rows=int((~keep).sum()),
    )


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _check_outputs(source: str, evaluation: str, target: str | None, listed: str | None, *, overwrite: bool) -> None:
    resolve_format(source, source if target is None else target)
    if listed is not None and Path(listed).suffix.lower() not in _PAIR_SUFFIXES:
        raise InvalidArgumentError(f"pairs: found {listed!r}, allowed: a name that ends in {', '.join(_PAIR_SUFFIXES)}")
    outputs = [path for path in (target, listed) if path is not None]
    for path in outputs:
        if path == "-":
            raise InvalidArgumentError("output, pairs: found '-'; two outputs are completed together, so give files")
        check_endpoints(source, path, overwrite=overwrite)
        if Path(evaluation).is_file():
            check_endpoints(evaluation, path, overwrite=overwrite)
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        raise InvalidArgumentError(f"output, pairs: both are {target!r}; two files are needed")


def _write(
    source: str,
    column: str,
    *,
    target: str | None,
    listed: str | None,
    keep: NDArray[np.bool_],
    rows: Iterator[dict[str, Any]],
) -> None:
    from contextlib import ExitStack

    from fastroute.artifact import atomic_file

    with ExitStack() as stack:
        if listed is not None:
            stream = stack.enter_context(atomic_file(listed))
            stream.writelines(_encoded(rows, Path(listed).suffix.lower()))
        if target is not None:
            sink = stack.enter_context(atomic_file(target))
            compression = compression_of(target)
            if compression is not None:
                sink = stack.enter_context(Compressor(sink, compression))  # type: ignore[assignment]
            copy_rows(source, column, keep, sink)


def _rows(
    found: Sequence[Pair], known: DistinctTexts, asked: DistinctTexts, eval_set: EvalSet
) -> Iterator[dict[str, Any]]:
    for pair in found:
        place = asked.first[pair.evaluation]
        yield {
            "train_row": known.first[pair.train],
            "train_rows": known.rows[pair.train],
            "eval_file": eval_set.files[place],
            "eval_row": eval_set.rows[place],
            "eval_rows": asked.rows[pair.evaluation],
            "method": pair.method,
            "similarity": round(pair.similarity, 6),
            "train_text": known.texts[pair.train][:_SHOWN],
            "eval_text": asked.texts[pair.evaluation][:_SHOWN],
        }


def _encoded(rows: Iterator[dict[str, Any]], suffix: str) -> Iterator[bytes]:
    if suffix not in _DELIMITERS:
        for row in rows:
            yield json.dumps(row).encode() + b"\n"
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, _PAIR_COLUMNS, delimiter=_DELIMITERS[suffix], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        yield text.getvalue().encode("utf-8", "backslashreplace")
        text.seek(0)
        text.truncate()
        writer.writerow(row)
    yield text.getvalue().encode("utf-8", "backslashreplace")
