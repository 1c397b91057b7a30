"""Row groups that Arrow's writer makes, as parts of a file that is assembled here."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fastroute.batch.formats.parquet_footers import MAGIC, Footer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from fastroute.batch.formats.parquet_groups import RowGroup
    from fastroute.batch.rows import Sink

__all__ = ["Codecs", "Segment"]

Codecs = str | dict[str, str]


class Segment:
    """Row groups that Arrow's writer puts at the end of a sink, as if they were a file of their own."""

    def __init__(
        self, sink: Sink, schema: pa.Schema, codecs: Codecs, plain: Sequence[str] = (), *, int96: bool = False
    ) -> None:
        from pyarrow import parquet

        self._sink = _SegmentSink(sink)
        encodings: Any = [name for name in schema.names if name not in plain] if plain else True
        self._writer = parquet.ParquetWriter(
            self._sink,
            schema,
            compression=codecs,
            use_dictionary=encodings,
            use_deprecated_int96_timestamps=int96,
        )

    def write(self, table: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(table, row_group_size=table.num_rows)

    def complete(self) -> list[RowGroup]:
        """Return where the row groups are in the sink; their footer is not written."""
        self._sink.hold()
        self._writer.close()
        # Arrow's writer counts its own bytes only.
        return [
            group.relocated([start + self._sink.begin for start, _ in group.chunks])
            for group in self._sink.footer().groups
        ]

    def abandon(self) -> None:
        """Let Arrow's writer go; it would complete the file even when it is deleted."""
        self._sink.cut()
        self._writer.close()


class _SegmentSink:
    """What Arrow's writer needs of a file, which begins where the sink ends: without a head, and without a footer."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink
        self.begin = sink.tell() - len(MAGIC)
        self._place = 0
        self._head = len(MAGIC)
        self._held: io.BytesIO | None = None

    def write(self, data: Any) -> int:
        size = len(data)
        self._place += size
        if self._head:
            skipped = min(self._head, size)
            self._head -= skipped
            data = memoryview(data)[skipped:]
        if self._held is not None:
            self._held.write(data)
        elif self._sink is not None and len(data):
            self._sink.write(data)
        return size

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Leave flushing to the sink's owner."""

    def hold(self) -> None:
        """Keep what is written from now on."""
        self._held = io.BytesIO()

    def footer(self) -> Footer:
        assert self._held is not None
        held = self._held.getvalue()
        end = len(held) - 8
        start = end - int.from_bytes(held[end : end + 4], "little")
        if start > 0 and self._sink is not None:
            self._sink.write(held[:start])
        return Footer.parsed(held[start:end], "output")

    def cut(self) -> None:
        """Let nothing through from now on."""
        self._sink = None
        self._held = None

    def close(self) -> None:
        """Leave the sink open: it is the caller's."""
