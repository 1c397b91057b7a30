"""Writing Parquet: column chunks copied as they are, or rows encoded anew, with new columns beside them."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastroute.batch.arrow import kept_rows, models_of
from fastroute.batch.formats.parquet_footers import MAGIC, Footer, assembled
from fastroute.batch.formats.parquet_groups import RowGroup
from fastroute.batch.formats.parquet_int96 import has_int96, with_all_dates
from fastroute.batch.formats.parquet_segments import Codecs, Segment
from fastroute.batch.formats.parquet_steps import decoding_rows
from fastroute.batch.rows import LostRowsError
from fastroute.batch.scoring import Choices, Scored
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.formats.parquet import ArrowRows, GroupRows
    from fastroute.batch.rows import AddedColumns, Batch, Sink

__all__ = ["CopyingWriter", "DecodingWriter", "ParquetCopier", "codecs_of", "footer_of"]

# A row group that is encoded anew is written when the input's ends, or at this size: it may be larger than memory.
MAX_GROUP_BYTES = 64 << 20
_COPY_BYTES = 1 << 20
_OPTIONS: dict[str, Any] = {"buffer_size": _COPY_BYTES, "pre_buffer": False}
_ARROW_SCHEMA = b"ARROW:schema"


class InputBytes(io.RawIOBase):
    """The bytes of an open file, read at places of its own: whoever opened it may move about in it, and close it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._size = os.fstat(descriptor).st_size
        self._place = 0

    @classmethod
    def of(cls, stream: BinaryIO) -> InputBytes | None:
        """Return the bytes of a stream, None where it is no file of the system's."""
        try:
            return cls(stream.fileno())
        except (OSError, ValueError):
            return None

    def at(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes from `start`."""
        return os.pread(self._descriptor, size, start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = self.at(self._place, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class _Writing:
    """An output in the making: its row groups, those of earlier runs included."""

    def __init__(self, sink: Sink, carried: Sequence[str] | None) -> None:
        self._sink = sink
        self._groups = [RowGroup.decoded(base64.b64decode(text), "journal") for text in carried or ()]
        self._told = len(self._groups)
        if carried is None:
            sink.write(MAGIC)

    def _new_groups(self) -> list[str]:
        new = self._groups[self._told :]
        self._told = len(self._groups)
        return [base64.b64encode(group.encoded()).decode() for group in new]


class CopyingWriter(_Writing):
    """Copies the column chunks of one Parquet file byte for byte, and adds those of the new columns.

    A row group that has lost rows is decoded, and encoded without them.

    Parameters
    ----------
    sink : Sink
    source : InputBytes
        The input; closed when the output is complete or abandoned.
    footer : Footer
        Its footer.
    name : str
        What messages call it.
    column : str
        The column whose codec the new ones get.
    added : AddedColumns
    carried : sequence of str or None
        What earlier checkpoints returned.
    """

    def __init__(
        self,
        sink: Sink,
        source: InputBytes,
        footer: Footer,
        *,
        name: str,
        column: str,
        added: AddedColumns,
        carried: Sequence[str] | None,
    ) -> None:
        super().__init__(sink, carried)
        from pyarrow import parquet

        self._source = source
        self._file = parquet.ParquetFile(source, **_OPTIONS)
        self._whole: parquet.ParquetFile | None = None  # for row groups that are encoded anew
        self._int96 = has_int96(self._file)
        self._footer = footer
        self._name = name
        self._added = added
        codecs = codecs_of(footer)
        self._codec = codecs if isinstance(codecs, str) else _codec_of(codecs, column)
        self._all_codecs = _extended_codecs(codecs, added)
        self._new = _added_schema(added)
        self._held: list[tuple[GroupRows, Sequence[Scored]]] = []

    def write(self, batch: Batch[GroupRows], scored: Sequence[Scored]) -> None:
        """Keep the scores until the row group ends, and write it then."""
        self._held.append((batch.payload, scored))
        if batch.payload.ends_group:
            self._end_group()

    def checkpoint(self) -> list[str] | None:
        """Return the row groups since the last; only between two row groups."""
        return None if self._held else self._new_groups()

    def cut(self) -> tuple[int, list[Sequence[Scored]]]:
        """Give up the rows of a row group that does not end."""
        held, self._held = self._held, []
        return sum(rows.rows for rows, _ in held), [scored for _, scored in held]

    def complete(self) -> None:
        """Write the footer."""
        assert not self._held
        metadata = {}
        if _ARROW_SCHEMA in self._footer.metadata:
            extended = _extended_schema(self._file.schema_arrow, self._added)
            metadata[_ARROW_SCHEMA] = base64.b64encode(extended.serialize().to_pybytes())
        self._sink.write(assembled(self._footer, footer_of(self._new), self._groups, metadata=metadata))
        self._source.close()

    def abandon(self) -> None:
        """Let go of the input."""
        self._source.close()

    def _end_group(self) -> None:
        import pyarrow as pa

        number = self._held[0][0].group
        try:
            self._write_group(number)
        except (pa.ArrowException, OSError) as error:
            raise LostRowsError(
                self._name, f"damaged in row group {number + 1}: {str(error).partition(chr(10))[0]}"
            ) from error
        self._held = []

    def _damaged(self, number: int, error: Exception) -> LostRowsError:
        what = str(error).partition("\n")[0]
        return LostRowsError(self._name, f"damaged in row group {number + 1}: {what}")

    def _write_group(self, number: int) -> None:
        if any(rows.good is not None for rows, _ in self._held):
            self._encode_group(number)
        else:
            group = self._footer.groups[number]
            moved = group.relocated(self._copied(group))
            segment = Segment(self._sink, self._new, self._codec, plain=[score for score, _ in self._added.pairs])
            try:
                segment.write(_table(self._new, [scored for _, scored in self._held]))
            except BaseException:
                segment.abandon()
                raise
            self._groups.append(moved.joined(segment.complete()[0]))

    def _copied(self, group: RowGroup) -> list[int]:
        """Copy the chunks and return where they begin."""
        starts: list[int] = []
        begin = end = 0
        for start, length in group.chunks:
            if start != end:
                self._copy(begin, end)
                begin = end = start
            starts.append(self._sink.tell() + end - begin)
            end += length
        self._copy(begin, end)
        return starts

    def _copy(self, begin: int, end: int) -> None:
        while begin < end:
            try:
                data = self._source.at(begin, min(_COPY_BYTES, end - begin))
            except OSError as error:
                raise LostRowsError(self._name, f"can't be read: {error.strerror or error}") from error
            if not data:
                raise LostRowsError(self._name, "cut short while it was read")
            self._sink.write(data)
            begin += len(data)

    def _encode_group(self, number: int) -> None:
        """Write the good rows of a row group, all columns of which are read for it."""
        if self._footer.schema[1:] != footer_of(self._file.schema_arrow, int96=self._int96).schema[1:]:
            # A run that was to leave out no rows copies what Arrow would not write the same.
            raise DataError("rows can't be left out of a file that was begun without; --overwrite begins anew")
        if self._whole is None:
            self._whole = with_all_dates(self._file, self._source, **_OPTIONS)
        schema = _extended_schema(self._whole.schema_arrow, self._added)
        good = np.concatenate(
            [rows.good if rows.good is not None else np.ones(rows.rows, np.bool_) for rows, _ in self._held]
        )
        scored = [_joined_scores(column) for column in zip(*(scored for _, scored in self._held), strict=True)]
        segment = Segment(self._sink, schema, self._all_codecs, int96=self._int96)
        try:
            row = at = 0
            group = _PendingGroup(segment)
            for rows in self._decoded(number):
                kept = good[row : row + rows.num_rows]
                row += rows.num_rows
                count = int(np.count_nonzero(kept))
                if count:
                    table = kept_rows(rows, kept)
                    part = [_part(one, at, at + count) for one in scored]
                    group.add(_with_columns(table, schema, part))
                    at += count
            group.end()
        except BaseException:
            segment.abandon()
            raise
        self._groups.extend(segment.complete())

    def _decoded(self, number: int) -> Iterator[pa.RecordBatch]:
        """Read all columns of a row group; what stops that is no failure to write."""
        assert self._whole is not None
        try:
            step = decoding_rows(self._footer.groups[number], None, self._source.at)
            yield from self._whole.iter_batches(step, row_groups=[number])
        except OSError as error:
            raise self._damaged(number, error) from error


class DecodingWriter(_Writing):
    """Writes the rows of one Parquet file with new columns, encoded anew, row group by row group.

    Parameters
    ----------
    sink : Sink
    schema : pyarrow.Schema
        The input's schema, with its metadata.
    added : AddedColumns
    codecs : str or dict
        Codec of all columns, or of each.
    carried : sequence of str or None
        What earlier checkpoints returned.
    """

    def __init__(
        self, sink: Sink, schema: pa.Schema, added: AddedColumns, codecs: Codecs, carried: Sequence[str] | None
    ) -> None:
        super().__init__(sink, carried)
        self._schema = _extended_schema(schema, added)
        self._codecs = _extended_codecs(codecs, added)
        self._segment: Segment | None = None
        self._pending: _PendingGroup | None = None

    def write(self, batch: Batch[ArrowRows], scored: Sequence[Scored]) -> None:
        """Write the rows of `batch`, at the latest when their row group ends."""
        if self._segment is None or self._pending is None:
            self._segment = Segment(self._sink, self._schema, self._codecs)
            self._pending = _PendingGroup(self._segment)
        rows = batch.payload.table
        if rows.num_rows:
            self._pending.add(_with_columns(rows, self._schema, scored))
        if batch.payload.ends_group:
            self._pending.end()

    def checkpoint(self) -> list[str] | None:
        """Return the row groups since the last; only between two row groups."""
        if self._pending is not None and not self._pending.empty:
            return None
        self._end_segment()
        return self._new_groups()

    def cut(self) -> tuple[int, list[Sequence[Scored]]]:
        """Have nothing to give up: what was read can be written."""
        return 0, []

    def complete(self) -> None:
        """Write what is left, and the footer."""
        if self._pending is not None:
            self._pending.end()
        self._end_segment()
        self._sink.write(assembled(footer_of(self._schema), None, self._groups))

    def abandon(self) -> None:
        """Let go of Arrow's writer."""
        if self._segment is not None:
            self._segment.abandon()

    def _end_segment(self) -> None:
        segment, self._segment, self._pending = self._segment, None, None
        if segment is not None:
            self._groups.extend(segment.complete())


class ParquetCopier:
    """Writes some of the rows of one Parquet file as they are."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema, codecs: Codecs) -> None:
        self._sink = _CountingSink(sink)
        self._sink.write(MAGIC)
        self._schema = schema
        self._segment = Segment(self._sink, schema, codecs)
        self._pending = _PendingGroup(self._segment)

    def write(self, batch: Batch[ArrowRows], keep: NDArray[np.bool_]) -> None:
        """Write the rows to keep, at the latest when their row group ends."""
        rows = batch.payload.table
        if keep.any():
            self._pending.add(kept_rows(rows, keep))
        if batch.payload.ends_group:
            self._pending.end()

    def complete(self) -> None:
        """Write what is left, and the footer."""
        self._pending.end()
        self._sink.write(assembled(footer_of(self._schema), None, self._segment.complete()))

    def abandon(self) -> None:
        """Close without a footer."""
        self._segment.abandon()


class _PendingGroup:
    """Rows on their way into a row group of bounded size."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._tables: list[pa.Table] = []
        self._bytes = 0

    @property
    def empty(self) -> bool:
        return not self._tables

    def add(self, rows: pa.Table) -> None:
        self._tables.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= MAX_GROUP_BYTES:
            self.end()

    def end(self) -> None:
        if self._tables:
            import pyarrow as pa

            self._segment.write(pa.concat_tables(self._tables))
        self._tables = []
        self._bytes = 0


class _CountingSink:
    """A stream of which nothing but writing is asked."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = 0

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size


def footer_of(schema: pa.Schema, *, int96: bool = False) -> Footer:
    """Return the footer that Arrow writes for a file of this schema without rows, timestamps as INT96 if asked for."""
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.ParquetWriter(file, schema, use_deprecated_int96_timestamps=int96).close()
    return Footer.read(file, "schema")


def codecs_of(footer: Footer | None) -> Codecs:
    """Return the codec of the first row group's columns: one name, or one for each where they differ."""
    chunks = footer.groups[0].described() if footer is not None and footer.groups else ()
    codecs = {chunk.path: chunk.codec for chunk in chunks}
    names = set(codecs.values()) or {"snappy"}
    return names.pop() if len(names) == 1 else codecs


def _codec_of(codecs: dict[str, str], column: str) -> str:
    own = [codec for path, codec in codecs.items() if path == column or path.startswith(f"{column}.")]
    return (own or list(codecs.values()))[0]


def _extended_codecs(codecs: Codecs, added: AddedColumns) -> Codecs:
    if isinstance(codecs, str):
        return codecs
    return codecs | dict.fromkeys(added.names, next(iter(codecs.values())))


def _added_schema(added: AddedColumns) -> pa.Schema:
    import pyarrow as pa

    fields = []
    for score, model in added.pairs:
        fields += [pa.field(score, pa.float32(), nullable=False), pa.field(model, pa.string(), nullable=False)]
    return pa.schema(fields)


def _extended_schema(schema: pa.Schema, added: AddedColumns) -> pa.Schema:
    for field in _added_schema(added):
        schema = schema.append(field)
    return schema


def _table(schema: pa.Schema, batches: Sequence[Sequence[Scored]]) -> pa.Table:
    """Return the new columns of several batches."""
    import pyarrow as pa

    scored = [_joined_scores(column) for column in zip(*batches, strict=True)]
    return pa.Table.from_arrays(_columns(scored), schema=schema)


def _with_columns(rows: pa.Table, schema: pa.Schema, scored: Sequence[Scored]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_arrays([*rows.columns, *_columns(scored)], schema=schema)


def _columns(scored: Sequence[Scored]) -> list[pa.Array]:
    import pyarrow as pa

    return [column for one in scored for column in (pa.array(one.scores, pa.float32()), models_of(one.models))]


def _joined_scores(parts: Sequence[Scored]) -> Scored:
    first = parts[0].models
    wants_strong = np.concatenate([part.models.wants_strong for part in parts])
    return Scored(np.concatenate([part.scores for part in parts]), Choices(first.strong, first.weak, wants_strong))


def _part(scored: Scored, start: int, end: int) -> Scored:
    models = scored.models
    return Scored(scored.scores[start:end], Choices(models.strong, models.weak, models.wants_strong[start:end]))
