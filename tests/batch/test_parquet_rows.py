"""Parquet: what is kept, what is added, what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def packed(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def opened(content: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(content))


def wide_table(rows: int) -> pa.Table:
    numbers = range(rows)
    schema = pa.schema(
        [
            pa.field("id", pa.uint64(), nullable=False, metadata={"unit": "none"}),
            pa.field("prompt", pa.string()),
            pa.field("when", pa.timestamp("ns", tz="Europe/Paris")),
            pa.field("tags", pa.list_(pa.struct([("k", pa.large_string()), ("v", pa.float32())]))),
            pa.field("price", pa.decimal128(38, 9)),
            pa.field("raw", pa.binary()),
            pa.field("kind", pa.dictionary(pa.int8(), pa.string())),
        ],
        metadata={"owner": "tests", "note": "ключ"},
    )
    columns = [
        pa.array([2**64 - 1 - i for i in numbers], pa.uint64()),
        pa.array(["x" * (i % 90) for i in numbers]),
        pa.array([i * 10**14 + i for i in numbers], pa.timestamp("ns", tz="Europe/Paris")),
        pa.array(
            [[{"k": "a", "v": i / 3}] * (i % 3) if i % 5 else None for i in numbers],
            schema.field("tags").type,
        ),
        pa.array([None] * rows, pa.decimal128(38, 9)),
        pa.array([bytes([i % 256]) for i in numbers]),
        pa.array(["ab"[i % 2] for i in numbers]).dictionary_encode().cast(schema.field("kind").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def test_columns_schema_metadata_groups_and_codec_are_kept(score_bytes, router):
    table = wide_table(10_000)
    content = packed(table, compression="zstd", row_group_size=4_500)
    out, summary = score_bytes(content, ".parquet")
    file = opened(out)
    scored = file.read()
    assert scored.schema.names == [*table.schema.names, "score", "model"]
    assert scored.drop_columns(["score", "model"]).equals(opened(content).read(), check_metadata=True)
    assert scored.schema.metadata[b"owner"] == b"tests"
    assert scored.schema.field("id").metadata[b"unit"] == b"none"
    assert scored.schema.field("score") == pa.field("score", pa.float32(), nullable=False)
    assert scored.schema.field("model") == pa.field("model", pa.string(), nullable=False)
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [4_500, 4_500, 1_000]
    assert {group.column(i).compression for group in groups for i in range(group.num_columns)} == {"ZSTD"}
    lengths = np.array([len(prompt) for prompt in table["prompt"].to_pylist()])
    expected = (lengths / 100).astype(np.float32)
    np.testing.assert_array_equal(scored["score"].to_numpy(), expected)
    assert scored["model"].to_pylist() == ["large" if n >= 50 else "small" for n in lengths]
    assert max(router.batch_sizes) <= 4096
    assert summary.routers[0].strong_rows == int((lengths >= 50).sum())


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4"])
def test_codecs(score_bytes, codec):
    content = packed(pa.table({"prompt": ["hi"] * 100}), compression=codec)
    out, _ = score_bytes(content, ".parquet")
    assert opened(out).metadata.row_group(0).column(1).compression == (
        opened(content).metadata.row_group(0).column(0).compression
    )


def test_a_codec_for_each_column(score_bytes):
    table = pa.table({"prompt": ["hi"] * 100, "n": range(100)})
    out, _ = score_bytes(packed(table, compression={"prompt": "zstd", "n": "none"}), ".parquet")
    group = opened(out).metadata.row_group(0)
    assert [group.column(i).compression for i in range(4)] == ["ZSTD", "UNCOMPRESSED", "ZSTD", "ZSTD"]


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.dictionary(pa.int32(), pa.string()),
    *([pa.string_view()] if hasattr(pa, "string_view") else []),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_types_of_text(score_bytes, kind):
    values = ["hi", None, "", "hi", "x" * 80]
    column = pa.array(values)
    column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
    out, summary = score_bytes(packed(pa.table({"prompt": column})), ".parquet", on_error="skip")
    scored = opened(out).read()
    assert scored["prompt"].to_pylist() == ["hi", "", "hi", "x" * 80]
    assert scored["score"].to_pylist() == [np.float32(x) for x in (0.02, 0, 0.02, 0.8)]
    assert scored.schema.field("prompt").type == kind
    assert [bad.row for bad in summary.first_skipped] == [2]


@pytest.mark.parametrize(
    "kind",
    [pa.int64(), pa.binary(), pa.null(), pa.list_(pa.string()), pa.struct([("a", pa.string())])],
    ids=str,
)
def test_a_column_of_another_type(score_bytes, tmp_path, kind):
    content = packed(pa.table({"prompt": pa.array([None, None], kind)}))
    with pytest.raises(DataError, match="column 'prompt': expected strings, found ") as error:
        score_bytes(content, ".parquet", on_error="skip")
    assert str(kind.id if kind is None else kind)[:4] in str(error.value)
    assert not (tmp_path / "out.parquet").exists()


def test_no_rows(score_bytes):
    content = packed(wide_table(0))
    out, summary = score_bytes(content, ".parquet")
    assert summary.rows == 0
    scored = opened(out).read()
    assert scored.num_rows == 0
    kept = scored.drop_columns(["score", "model"]).schema
    assert kept.equals(opened(content).schema_arrow, check_metadata=True)


def bad_texts(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


BAD_ROWS = {
    "null": (None, "column 'prompt': expected a string, found null"),
    "UTF-8": (b"h\xff", "column 'prompt': invalid UTF-8 at byte 2"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_ends_the_run(score_bytes, tmp_path, bad, reason):
    table = pa.table({"prompt": pa.chunked_array([bad_texts(*[b"hi"] * 6_000), bad_texts(bad, b"hi")])})
    with pytest.raises(DataError) as error:
        score_bytes(packed(table, row_group_size=5_000), ".parquet")
    assert str(error.value) == f"{tmp_path / 'in.parquet'}: row 6001: {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out(score_bytes, bad, reason):
    table = pa.table({"prompt": bad_texts(b"hi", bad, b"hello"), "id": [1, 2, 3]})
    out, summary = score_bytes(packed(table), ".parquet", on_error="skip")
    assert opened(out).read().to_pylist() == [
        {"prompt": "hi", "id": 1, "score": np.float32(0.02), "model": "small"},
        {"prompt": "hello", "id": 3, "score": np.float32(0.05), "model": "small"},
    ]
    (row,) = summary.first_skipped
    assert (row.row, row.line, row.reason) == (2, None, reason)


def test_a_row_group_of_bad_rows_only(score_bytes, router):
    table = pa.table({"prompt": [None, None, "hi", None]})
    out, summary = score_bytes(packed(table, row_group_size=2), ".parquet", on_error="skip")
    assert opened(out).read()["prompt"].to_pylist() == ["hi"]
    assert (summary.rows, summary.skipped, router.batch_sizes) == (1, 3, [1])


def test_large_prompts_make_small_batches(score_bytes, router):
    table = pa.table({"prompt": [str(i) + "x" * 5_000_000 for i in range(3)]})
    out, _ = score_bytes(packed(table, compression="zstd"), ".parquet")
    assert opened(out).read()["prompt"].equals(table["prompt"])
    assert router.batch_sizes == [1, 1, 1]


def test_row_groups_larger_than_memory_are_split(score_bytes, monkeypatch):
    monkeypatch.setattr("fastroute.batch.formats.parquet_writing.MAX_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr("fastroute.batch.formats.parquet._MAX_HELD_BYTES", 1 << 10)  # no copying
    table = pa.table({"prompt": ["x" * 90] * 50_000})
    file = opened(score_bytes(packed(table), ".parquet")[0])
    assert file.num_row_groups > 2
    assert file.read()["prompt"].equals(table["prompt"])


def test_damaged_files(score_bytes, tmp_path):
    texts = [f"{i} {'ab' * (i % 40)}" for i in range(20_000)]
    content = packed(pa.table({"prompt": texts}), use_dictionary=False, row_group_size=5_000)
    middle = bytearray(content)
    middle[len(content) // 2 : len(content) // 2 + 2_000] = b"\xff" * 2_000
    for bad in (b"", b"PAR1", b"not parquet at all", content[:-1], content[: len(content) // 2]):
        with pytest.raises(DataError, match=r"in.parquet: not a readable Parquet file"):
            score_bytes(bad, ".parquet", on_error="skip")
    with pytest.raises(DataError, match=r"in.parquet: damaged after row \d+"):
        score_bytes(bytes(middle), ".parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    out, summary = score_bytes(bytes(middle), ".parquet", on_error="skip")
    scored = opened(out).read()
    assert 0 < scored.num_rows < 20_000
    assert scored.num_rows % 5_000 == 0  # whole row groups
    assert scored["prompt"].to_pylist() == texts[: scored.num_rows]
    assert (summary.rows, summary.skipped, summary.lost) == (scored.num_rows, 0, 1)
    assert summary.first_skipped[0].row == scored.num_rows + 1
    assert summary.routers[0].strong_rows == scored["model"].to_pylist().count("large")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["text", "id"], DataError, "no column 'prompt'; the file has 'text', 'id'"),
        (["prompt", "prompt"], DataError, "2 columns are named 'prompt'"),
        (["prompt", "score"], InvalidArgumentError, "there is a column 'score' already.*--score-column"),
        (["prompt", "model"], InvalidArgumentError, "there is a column 'model' already.*--model-column"),
    ],
)
def test_columns_that_can_not_serve(score_bytes, names, error, message):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=names)
    with pytest.raises(error, match=message):
        score_bytes(packed(table), ".parquet")


def test_pandas_reads_its_index_and_types_back(score_bytes):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {"prompt": ["hi", "hello"], "n": pd.array([1, None], dtype="Int64")},
        index=pd.Index(["a", "b"], name="k"),
    )
    content = io.BytesIO()
    frame.to_parquet(content)
    out, _ = score_bytes(content.getvalue(), ".parquet")
    scored = pd.read_parquet(io.BytesIO(out))
    pd.testing.assert_frame_equal(scored[["prompt", "n"]], frame)
