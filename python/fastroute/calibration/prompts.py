"""Prompts from a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastroute.batch.endpoints import STANDARD, check_endpoints, open_source
from fastroute.batch.formats import open_reader, resolve_format
from fastroute.batch.rows import NO_COLUMNS
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["read_prompts"]


def read_prompts(
    source: str | os.PathLike[str],
    *,
    column: str = "prompt",
    format: str | None = None,  # noqa: A002
) -> Iterator[list[str]]:
    """Yield the prompts of a .jsonl, .ndjson, .csv, .tsv or .parquet file in batches of bounded size.

    Parameters
    ----------
    source
        The file; "-" is standard input.
    column
        Column of the prompts.
    format
        One of jsonl, csv, tsv, parquet, where the name does not tell.

    Raises
    ------
    InvalidArgumentError
        There is no such file, or its format can't be known.
    DataError
        It can't be read, lacks the column, or holds a row without a prompt.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    source = os.fspath(source)
    check_endpoints(source, STANDARD, overwrite=True)
    kind = resolve_format(source, STANDARD, format)
    with open_source(source, seekable=kind == "parquet") as opened:
        reader = open_reader(kind, opened.stream, name=opened.name, column=column, added=NO_COLUMNS, size=opened.size)
        for batch in reader.batches():
            if batch.bad:
                raise DataError(str(batch.bad[0]))
            if len(batch.prompts):
                yield list(batch.prompts)
