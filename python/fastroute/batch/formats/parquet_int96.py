"""INT96, in which older programs stored timestamps: Arrow has no such type, and its nanoseconds end in 2262.

Where rows are encoded anew, later dates (9999-12-31 often stands for none) would come out as others. Then they
are read as microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import io

    from pyarrow import parquet

__all__ = ["has_int96", "with_all_dates"]


def has_int96(file: parquet.ParquetFile) -> bool:
    """Whether a file has a column of this type."""
    return bool(_paths(file))


def with_all_dates(file: parquet.ParquetFile, source: BinaryIO | io.RawIOBase, **options: Any) -> parquet.ParquetFile:
    """Return the file, or where a date is out of reach of nanoseconds the same one read as microseconds.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
    source : binary file
        What it was opened on, and the other one will be.
    **options
        What it was opened with besides.
    """
    import pyarrow as pa
    from pyarrow import parquet

    paths = _paths(file)
    if not paths:
        return file
    coarse = parquet.ParquetFile(source, coerce_int96_timestamp_unit="us", **options)
    try:
        for group in range(file.num_row_groups):
            pair = (one.iter_batches(1024, row_groups=[group], columns=paths) for one in (file, coarse))
            for fine, found in zip(*pair, strict=True):
                if not _same(pa.Table.from_batches([fine]), pa.Table.from_batches([found])):
                    return coarse
    except (pa.ArrowException, OSError):
        pass  # damaged, as will be seen when all columns are read
    return file


def _paths(file: parquet.ParquetFile) -> list[str]:
    leaves = (file.schema.column(i) for i in range(len(file.schema)))
    return [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]


def _same(fine: Any, coarse: Any) -> bool:
    import pyarrow as pa

    try:
        return bool(fine.cast(coarse.schema, safe=False).equals(coarse))
    except pa.ArrowException:  # no cast of such a type
        return False
