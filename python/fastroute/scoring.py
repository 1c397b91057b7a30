"""``fastroute.score_table``: from a table of prompts to the same table with scores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from fastroute.errors import InvalidTypeError
from fastroute.loading import load

if TYPE_CHECKING:
    from fastroute.batch import Scorer
    from fastroute.batch.frames import OnBadRow

__all__ = ["score_table"]

TableT = TypeVar("TableT")


def score_table(
    table: TableT,
    router: Scorer | str | os.PathLike[str] | None = None,
    *,
    column: str = "prompt",
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    on_error: OnBadRow = "fail",
) -> TableT:
    """Score every prompt of a table in memory; needs ``pip install 'fastroute[batch]'``.

    The strings of Arrow's buffers are read where they are, chunk by chunk, without the GIL, by a router of kind
    `experts`, `mf`, `knn` or `sw_ranking` with a static encoder; others are given a Python string for each. The table
    itself is not changed.

    Parameters
    ----------
    table
        A pyarrow Table or RecordBatch, or a pandas or polars DataFrame. What else has ``__arrow_c_stream__`` comes
        back as a pyarrow Table.
    router
        A router, or what `fastroute.load` makes one of: a name, a path, None for the default.
    column
        Column of the prompts: strings, or a dictionary (categories) of strings.
    score_column, model_column
        Names of the new columns: the score (float32) and the model that it chooses (string).
    threshold
        A score of at least this goes to the strong model; the router's own if None.
    on_error : {"fail", "null"}
        Fail at the first row whose prompt is no text, or give such rows a null score and a null model. What is no text:
        a null, bytes that are not UTF-8, half of a surrogate pair, a cell other than a string in a column of objects.

    Returns
    -------
    table
        Of the same kind, with its rows, columns and order, and the two columns at the end; in Arrow's schema they are
        nullable with ``on_error="null"`` only. pandas has NaN for a null score and its missing value for a null model.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `table` is none of these, another argument can't serve, or the table has one of the new columns.
    DataError
        The table lacks the column, or it is of another type, or its Arrow buffers are not sound. With
        ``on_error="fail"``: a row is no text; it is named, from 0.
    MissingDependencyError
        pyarrow is not installed.

    Notes
    -----
    Any number of threads may score tables with one router at once. The scores are those of ``router.score`` on a list
    of the same strings, bit for bit.
    """
    from fastroute.batch.frames import TableScoring
    from fastroute.batch.rows import AddedColumns
    from fastroute.policies import Threshold

    scorer: Scorer
    if router is None or isinstance(router, (str, os.PathLike)):
        scorer = load(router)
    elif all(hasattr(router, name) for name in ("score", "strong", "weak", "threshold")):
        scorer = router
    else:
        raise InvalidTypeError(f"router: found {type(router).__name__}, allowed: a router, its name or its path")
    policy = Threshold(scorer.threshold if threshold is None else threshold)
    added = AddedColumns(((score_column, model_column),))
    scored: TableT = TableScoring(scorer, column, added, policy, on_error).score(table)
    return scored
