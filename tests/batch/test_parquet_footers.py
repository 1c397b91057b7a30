"""Footers of Parquet files: chunks copied byte for byte are what they were, beside new columns."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastroute.batch.formats.parquet_footers import Footer, assembled
from fastroute.batch.formats.parquet_groups import RowGroup
from fastroute.errors import InvalidArgumentError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["fastroute_score", "fastroute_model"]
ROWS = 700


def packed(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def footer_of(content: bytes, name: str = "in.parquet") -> Footer:
    return Footer.read(io.BytesIO(content), name)


def tail_of(content: bytes) -> bytes:
    return content[-8 - int.from_bytes(content[-8:-4], "little") :]


def stored_schema(schema: pa.Schema) -> bytes:
    """Let pyarrow say how it stores a schema."""
    return footer_of(packed(schema.empty_table())).metadata[b"ARROW:schema"]


def copied(group: RowGroup, content: bytes, out: bytearray) -> RowGroup:
    """Append a row group's chunks to `out`, and give what its footer has to say of them."""
    starts = []
    for start, length in group.chunks:
        starts.append(len(out))
        out += content[start : start + length]
    return RowGroup.decoded(group.relocated(starts).encoded(), "journal")


def extended(content: bytes, new: pa.Table) -> bytes:
    """Append the columns of `new`, as a caller of these functions does: each row group's by a small file of its own."""
    base = footer_of(content)
    assert base.uncopyable is None
    out = bytearray(b"PAR1 something else, so that all places are new")
    groups = []
    row = 0
    for group in base.groups:
        moved = copied(group, content, out)
        small = packed(new.slice(row, group.rows), row_group_size=max(1, group.rows))
        (added,) = footer_of(small).groups
        groups.append(moved.joined(copied(added, small, out)))
        row += group.rows
    metadata = {}
    if b"ARROW:schema" in base.metadata:
        schema = pq.read_schema(io.BytesIO(content))
        for one in new.schema:
            schema = schema.append(one)
        metadata[b"ARROW:schema"] = stored_schema(schema)
    return bytes(out) + assembled(base, footer_of(packed(new.slice(0, 0))), groups, metadata=metadata)


def new_columns(rows: int) -> pa.Table:
    schema = pa.schema(
        [pa.field(NAMES[0], pa.float32(), nullable=False), pa.field(NAMES[1], pa.string(), nullable=False)]
    )
    scores = np.linspace(0, 1, rows, dtype=np.float32)
    return pa.Table.from_arrays(
        [pa.array(scores), pa.array(["strong", "weak"] * (rows // 2 + 1))[:rows]], schema=schema
    )


def plain() -> pa.Table:
    numbers = range(ROWS)
    return pa.table(
        {
            "prompt": [f"what is {i}" if i % 7 else None for i in numbers],
            "n": pa.array([i * i for i in numbers], pa.int64()),
            "x": pa.array([i / 3 for i in numbers], pa.float64()),
            "few": ["abc"[i % 3] for i in numbers],
        }
    )


def nested() -> pa.Table:
    numbers = range(ROWS)
    day = dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone.utc)
    struct = pa.struct([("k", pa.large_string()), ("v", pa.list_(pa.float32()))])
    fields = {
        "tags": pa.array(
            [[{"k": "a", "v": [i, None]}] * (i % 3) if i % 5 else None for i in numbers], pa.list_(struct)
        ),
        "map": pa.array(
            [[("k", i), ("l", None)] if i % 4 else None for i in numbers], pa.map_(pa.string(), pa.int16())
        ),
        "price": pa.array([decimal.Decimal(i) / 8 for i in numbers], pa.decimal128(38, 9)),
        "wide": pa.array([decimal.Decimal(i) for i in numbers], pa.decimal256(60, 2)),
        "when": pa.array([day] * ROWS, pa.timestamp("ns", tz="Europe/Paris")),
        "date": pa.array([day.date()] * ROWS, pa.date32()),
        "raw": pa.array([bytes([i % 256]) * 16 for i in numbers], pa.binary(16)),
        "kind": pa.array(["ab"[i % 2] for i in numbers]).dictionary_encode(),
        "u": pa.array([2**64 - 1 - i for i in numbers], pa.uint64()),
        "flag": pa.array([i % 3 == 0 for i in numbers]),
        "nothing": pa.nulls(ROWS),
    }
    schema = pa.schema(
        [pa.field(name, column.type, metadata={"unit": name}) for name, column in fields.items()],
        metadata={"owner": "tests", "note": "ключ"},
    )
    return pa.Table.from_arrays(list(fields.values()), schema=schema)


ENCODED = {"prompt": "DELTA_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED", "x": "BYTE_STREAM_SPLIT", "few": "PLAIN"}
CODECS = [codec for codec in ("snappy", "gzip", "brotli", "zstd", "lz4") if pa.Codec.is_available(codec)]
FILES: dict[str, Callable[[], bytes]] = {
    **{codec: lambda codec=codec: packed(plain(), compression=codec, row_group_size=300) for codec in CODECS},
    "plain": lambda: packed(plain(), compression="none"),
    "nested": lambda: packed(nested(), row_group_size=256),
    "nested, no Arrow schema": lambda: packed(nested(), row_group_size=256, store_schema=False),
    "no Arrow schema": lambda: packed(plain(), store_schema=False),
    "no dictionaries": lambda: packed(plain(), use_dictionary=False),
    "dictionary given up": lambda: packed(plain(), dictionary_pagesize_limit=64, data_page_size=128),
    "no rows": lambda: packed(plain().slice(0, 0)),
    "no columns": lambda: packed(pa.table({})),
    "many row groups": lambda: packed(plain(), row_group_size=3),
    "no statistics": lambda: packed(plain(), write_statistics=False),
    "page index": lambda: packed(plain(), write_page_index=True, data_page_size=256, row_group_size=300),
    "sorted": lambda: packed(plain(), sorting_columns=[pq.SortingColumn(1), pq.SortingColumn(3, descending=True)]),
    "pages of version 2": lambda: packed(plain(), data_page_version="2.0", row_group_size=300),
    "encodings": lambda: packed(plain(), use_dictionary=False, column_encoding=ENCODED),
    "version 1": lambda: packed(plain(), version="1.0", use_deprecated_int96_timestamps=True),
    "checksums": lambda: packed(plain(), write_page_checksum=True),
    "wide": lambda: packed(pa.table({f"column {i}": [i, None] for i in range(2_000)})),
    "pandas": lambda: packed(plain().replace_schema_metadata({"pandas": '{"columns": [], "index_columns": []}'})),
}


@pytest.fixture(params=FILES)
def content(request: pytest.FixtureRequest) -> bytes:
    try:
        return FILES[request.param]()
    except (AttributeError, TypeError):  # pq.SortingColumn, write_page_checksum
        pytest.skip("this pyarrow can't write such a file")


def test_what_pyarrow_wrote_is_written_again(content):
    footer = footer_of(content)
    metadata = pq.read_metadata(io.BytesIO(content))
    assert assembled(footer, None, footer.groups) == tail_of(content)
    assert (footer.rows, len(footer.groups)) == (metadata.num_rows, metadata.num_row_groups)
    assert (footer.columns, footer.created_by) == (metadata.num_columns, metadata.created_by)
    assert footer.metadata == (metadata.metadata or {})
    assert footer.uncopyable is None


def test_row_groups_survive_a_journal_and_say_where_their_chunks_are(content):
    metadata = pq.read_metadata(io.BytesIO(content))
    for index, group in enumerate(footer_of(content).groups):
        assert RowGroup.decoded(group.encoded(), "journal") == group
        said = metadata.row_group(index)
        assert group.rows == said.num_rows
        columns = [said.column(i) for i in range(said.num_columns)]
        starts = [c.dictionary_page_offset if c.has_dictionary_page else c.data_page_offset for c in columns]
        assert group.chunks == tuple((start, c.total_compressed_size) for start, c in zip(starts, columns, strict=True))


def test_copied_chunks_are_read_beside_new_columns(content):
    before = pq.read_table(io.BytesIO(content))
    new = new_columns(before.num_rows)
    out = extended(content, new)
    expected = before
    for one in new.schema:
        expected = expected.append_column(one, new[one.name])
    after = pq.read_table(io.BytesIO(out))
    after.validate(full=True)
    assert after.schema.equals(expected.schema, check_metadata=True)
    assert after.equals(expected)
    was, now = (pq.read_metadata(io.BytesIO(c)) for c in (content, out))
    assert (now.created_by, now.format_version) == (was.created_by, was.format_version)
    assert now.num_row_groups == was.num_row_groups
    for index in range(now.num_row_groups):
        old, group = was.row_group(index), now.row_group(index)
        assert group.num_rows == old.num_rows
        added = [group.column(group.num_columns - 2 + i) for i in range(2)]
        assert group.total_byte_size == old.total_byte_size + sum(c.total_uncompressed_size for c in added)
        if hasattr(group, "sorting_columns"):  # pyarrow 14 does not tell
            assert group.sorting_columns == old.sorting_columns
        for i in range(old.num_columns):
            assert group.column(i).statistics == old.column(i).statistics
            assert group.column(i).encodings == old.column(i).encodings
            assert (group.column(i).has_column_index, group.column(i).has_offset_index) == (False, False)
        assert [c.statistics is not None and c.statistics.has_min_max for c in added] == [group.num_rows > 0] * 2


def test_bloom_filters_are_dropped():
    try:
        content = packed(plain(), bloom_filter_options={"prompt": {"ndv": ROWS, "fpp": 0.05}})
    except TypeError:
        pytest.skip("this pyarrow writes no Bloom filters")
    was, now = (pq.read_metadata(io.BytesIO(c)) for c in (content, extended(content, new_columns(ROWS))))
    assert was.row_group(0).column(0).bloom_filter_offset
    assert now.row_group(0).column(0).bloom_filter_offset is None


READERS = ["duckdb", "polars"]


def write_with(library: str, path: Path) -> None:
    if library == "duckdb":
        duckdb = pytest.importorskip("duckdb", reason="duckdb reads and writes the file")
        duckdb.from_arrow(plain()).write_parquet(str(path), row_group_size=2048)
    else:
        polars = pytest.importorskip("polars", reason="polars reads and writes the file")
        polars.from_arrow(plain()).write_parquet(path, row_group_size=300)


@pytest.mark.parametrize("library", READERS)
def test_files_of_other_writers_are_extended(library, tmp_path):
    path = tmp_path / "base.parquet"
    write_with(library, path)
    content = path.read_bytes()
    out = extended(content, new_columns(ROWS))
    expected = pq.read_table(io.BytesIO(content))
    for one in new_columns(ROWS).schema:
        expected = expected.append_column(one, new_columns(ROWS)[one.name])
    assert pq.read_table(io.BytesIO(out)).equals(expected)
    assert pq.read_metadata(io.BytesIO(out)).created_by == pq.read_metadata(io.BytesIO(content)).created_by


@pytest.mark.parametrize("library", READERS)
@pytest.mark.parametrize("file", ["zstd", "no Arrow schema", "pages of version 2", "page index", "encodings", "duckdb"])
def test_other_readers_read_the_copy(library, file, tmp_path):
    reader = pytest.importorskip(library, reason=f"{library} reads the file")
    path = tmp_path / "out.parquet"
    if file == "duckdb":
        write_with(file, path)
        path.write_bytes(extended(path.read_bytes(), new_columns(ROWS)))
    else:
        path.write_bytes(extended(FILES[file](), new_columns(ROWS)))
    columns = [*plain().column_names, *NAMES]
    if library == "duckdb":
        rows = reader.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()
        found = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    else:
        frame = reader.read_parquet(path)
        assert frame.columns == columns
        found = frame.to_dict(as_series=False)
    assert found == {**plain().to_pydict(), **new_columns(ROWS).to_pydict()}


def test_metadata_are_replaced_in_place_or_appended():
    base = footer_of(packed(plain().replace_schema_metadata({"a": "1", "b": "2", "c": "3"})))
    content = packed(plain())[: -len(tail_of(packed(plain())))]
    tail = assembled(base, None, (), metadata={b"d": b"\xff4", b"b": b""})
    assert list(Footer.read(io.BytesIO(content + tail), "x").metadata.items())[::-1] == [
        (b"a", b"1"),
        (b"b", b""),
        (b"c", b"3"),
        (b"ARROW:schema", base.metadata[b"ARROW:schema"]),
        (b"d", b"\xff4"),
    ]


def test_more_row_groups_than_16_bits_count():
    base = footer_of(packed(pa.table({"a": [1]})))
    content = b"PAR1" + assembled(base, None, base.groups * 40_000)
    metadata = pq.read_metadata(io.BytesIO(content))
    assert (metadata.num_rows, metadata.num_row_groups) == (40_000, 40_000)
    assert footer_of(content).rows == 40_000


def test_what_does_not_fit_together_is_refused():
    base, other = footer_of(packed(plain())), footer_of(packed(plain().slice(0, 5)))
    group = base.groups[0]
    with pytest.raises(InvalidArgumentError, match="3 values for 4 column chunks"):
        group.relocated([4, 5, 6])
    with pytest.raises(InvalidArgumentError, match="5 rows beside one of 700"):
        group.joined(other.groups[0])
    with pytest.raises(InvalidArgumentError, match="row group 0 has 4 column chunks, the schema has 8 columns"):
        assembled(base, base, base.groups)
