"""Data sets on disk, as the hub has them or `datasets.save_to_disk` writes them: the rows of their split `train`."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact.folder import checked_path
from fastroute.errors import DataError, MissingDependencyError
from fastroute.exporting.checkpoint import Sources
from fastroute.onnx.folder import read_settings
from fastroute.tables import Table, as_table

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["read_columns", "read_embeddings"]

_PARQUET: Final = ".parquet"
_ARROW: Final = ".arrow"
_STATE: Final = "state.json"
_SPLITS: Final = "dataset_dict.json"
_TRAIN: Final = "train"
_OTHER_SPLITS: Final = {"test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"}
_EMBEDDINGS: Final = "embeddings"


def read_columns(path: object, argument: str, columns: Collection[str]) -> tuple[Table, Sources]:
    """Read those of `columns` that a data set has, and say which files they are from.

    Parameters
    ----------
    path
        A folder of Parquet files, or one of `save_to_disk`; or one .parquet or .arrow file.
    argument
        What errors call `path`.
    columns
        Names.

    Raises
    ------
    DataError
        A file is missing, malformed or leads out of the folder, or there is none of the split `train`.
    MissingDependencyError
        pyarrow is not installed.
    """
    table, sources = _read(path, argument, columns)
    return as_table(table, str(path)), sources


def read_embeddings(path: object, argument: str) -> tuple[NDArray[np.float32], Sources]:
    """Read the column `embeddings` of a data set as a matrix, and say which files it is from.

    Raises
    ------
    DataError
        As `read_columns` does; or the column is missing, or not a list of equally many finite numbers in every row.
    MissingDependencyError
        pyarrow is not installed.
    """
    table, sources = _read(path, argument, (_EMBEDDINGS,))
    if _EMBEDDINGS not in table.column_names:
        raise DataError(f"{path}: has no column {_EMBEDDINGS!r}; RouteLLM's data sets of embeddings have it")
    rows = np.zeros((0, 0), np.float32)
    parts: list[NDArray[np.float32]] = []
    done = 0
    for chunk in table.column(_EMBEDDINGS).chunks:
        part = _matrix(chunk, f"{path}: column {_EMBEDDINGS!r}", done, parts[0].shape[1] if parts else None)
        done += len(part)
        parts += [part] if len(part) else []
    return (np.concatenate(parts) if parts else rows), sources


def _matrix(chunk: Any, source: str, first: int, dim: int | None) -> NDArray[np.float32]:
    """Make a matrix of lists; `first` is the row that the chunk begins at, and `dim` what rows before it have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(kind(chunk.type) for kind in kinds) or not pa.types.is_floating(chunk.type.value_type):
        raise DataError(f"{source}: holds {chunk.type}; lists of floating-point numbers are needed")
    if not len(chunk):
        return np.zeros((0, 0), np.float32)
    lengths = pc.list_value_length(chunk).fill_null(-1).to_numpy(zero_copy_only=False)
    dim = int(lengths[0]) if dim is None else dim
    odd = (lengths != dim) | (lengths <= 0)
    if odd.any():
        row = int(np.argmax(odd))
        found = "nothing" if lengths[row] < 0 else f"{lengths[row]} numbers"
        raise DataError(f"{source}, row {first + row}: {found} found; {max(dim, 1)} numbers are needed in every row")
    values = chunk.flatten()
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.array(values.to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)
    finite = np.isfinite(rows).all(axis=1)  # a null is NaN here
    if not finite.all():
        raise DataError(f"{source}, row {first + int(np.argmin(finite))}: NaN, infinity or nothing; finite is needed")
    return rows


def _read(path: object, argument: str, columns: Collection[str]) -> tuple[Any, Sources]:
    """Read a pyarrow table of those columns that all the files have."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependencyError("reading data sets needs pyarrow: pip install 'fastroute[batch]'") from error
    given = checked_path(path, argument)
    if given.is_dir():
        folder = given / _TRAIN if (given / _SPLITS).is_file() and not (given / _STATE).is_file() else given
        sources, names = Sources(given), _files(folder)
        names = [f"{_TRAIN}/{name}" for name in names] if folder != given else names
    elif given.suffix.lower() in (_PARQUET, _ARROW):
        sources, names = Sources(given.parent), [given.name]
    else:
        raise DataError(f"{argument}: {given} is neither a folder nor a {_PARQUET} or {_ARROW} file")
    tables = [_table(sources, name, columns) for name in names]
    for name, table in zip(names, tables, strict=True):
        if table.schema.names != tables[0].schema.names:
            raise DataError(f"{given / name}: has {table.schema.names}, {names[0]} has {tables[0].schema.names}")
    try:
        return pa.concat_tables(tables), sources
    except pa.ArrowException as error:
        raise DataError(f"{given}: its files have different types: {error!s:.200}") from error


def _table(sources: Sources, name: str, columns: Collection[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, raw = sources.folder / name, sources.read(name, keep=False)
    try:
        if name.lower().endswith(_PARQUET):
            with pq.ParquetFile(pa.BufferReader(raw)) as parquet:
                wanted = _wanted(path, parquet.schema_arrow.names, columns)
                table = parquet.read(wanted)
        else:
            opened = pa.ipc.open_file if raw.startswith(b"ARROW1") else pa.ipc.open_stream
            with opened(raw) as reader:
                wanted = _wanted(path, reader.schema.names, columns)
                table = reader.read_all().select(wanted)
        table.validate(full=True)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise DataError(f"{path}: can't be read as {path.suffix[1:]}: {error!s:.300}") from error
    return table.select(sorted(wanted)).replace_schema_metadata(None)


def _wanted(path: Path, names: list[str], columns: Collection[str]) -> list[str]:
    found = [name for name in names if name in columns]
    if len(set(found)) != len(found):
        raise DataError(f"{path}: has a column twice; its columns are {names!r:.200}")
    return found


def _files(folder: Path) -> list[str]:
    """Names of the files of the split `train`, relative to the folder, in the order of their rows."""
    if (folder / _STATE).is_file():
        return _saved_files(folder)
    for suffix in (_PARQUET, _ARROW):
        found = sorted(
            path.relative_to(folder).as_posix() for depth in ("*", "*/*") for path in folder.glob(f"{depth}{suffix}")
        )
        if not found:
            continue
        training = [name for name in found if _TRAIN in _words(name)]
        if not training and any(_OTHER_SPLITS & _words(name) for name in found):
            raise DataError(f"{folder}: holds no file of the split {_TRAIN}, only {', '.join(found)!s:.200}")
        return training or found
    raise DataError(f"{folder}: holds no {_PARQUET} or {_ARROW} file; give a data set that was saved to disk")


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))


def _saved_files(folder: Path) -> list[str]:
    """Files by the `state.json` that `save_to_disk` writes."""
    path, state = folder / _STATE, read_settings(folder, _STATE)
    listed = state.get("_data_files")
    names = [each.get("filename") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    plain = [name for name in names if isinstance(name, str) and name == PurePosixPath(name).name != ".."]
    if not isinstance(listed, list) or not plain or len(plain) != len(listed):
        raise DataError(f"{path}: _data_files is {listed!r:.200}; a list of names of files is needed")
    if state.get("_indices_data_files"):
        raise DataError(f"{path}: the order of the rows is kept apart; flatten_indices() and save again")
    return plain
