"""Files whose prompts are read, and whose rows are then copied in part."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from fastroute.batch.endpoints import STANDARD, open_source
from fastroute.batch.formats import open_reader, resolve_format
from fastroute.batch.rows import NO_COLUMNS
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.batch.rows import Reader

__all__ = ["copy_rows", "iterate_prompts"]


def iterate_prompts(path: str, column: str) -> Iterator[str]:
    """Yield the prompt of every row of a .jsonl, .ndjson, .csv, .tsv or .parquet file.

    Raises
    ------
    InvalidArgumentError
        The name does not tell the format, or is "-".
    DataError
        The file can't be read, lacks `column`, or has a row without a prompt.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    with _opened(path, column) as reader:
        for batch in reader.batches():
            if batch.bad:
                raise DataError(str(batch.bad[0]))
            yield from batch.prompts


def copy_rows(path: str, column: str, keep: NDArray[np.bool_], sink: BinaryIO) -> None:
    """Write those rows of a file for which `keep` is true, columns and order as they are; raises as above.

    Parameters
    ----------
    keep
        (rows,) one value per row that `iterate_prompts` yields.
    """
    position = 0
    with _opened(path, column) as reader, reader.copier(sink) as copier:
        for batch in reader.batches():
            if batch.bad:
                raise DataError(str(batch.bad[0]))
            rows = len(batch.prompts)
            if position + rows > len(keep):
                raise DataError(f"{path}: the file has changed while it was read: it has more than {len(keep)} rows")
            copier.write(batch, keep[position : position + rows])
            position += rows
        if position != len(keep):
            raise DataError(f"{path}: the file has changed while it was read: {position} rows instead of {len(keep)}")


@contextmanager
def _opened(path: str, column: str) -> Iterator[Reader[Any]]:
    if path == STANDARD:
        raise InvalidArgumentError("'-': standard input can't be read twice; give a file")
    kind = resolve_format(path, path)
    with open_source(path, seekable=kind == "parquet") as opened:
        yield open_reader(kind, opened.stream, name=opened.name, column=column, added=NO_COLUMNS, size=opened.size)
