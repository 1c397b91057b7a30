"""Parquet: what is copied byte for byte, and what holds where rows are left out or the file is an unusual one."""

from __future__ import annotations

import datetime as dt
import io

import numpy as np
import pytest

from fastroute.batch import score_log
from fastroute.errors import DataError, FastrouteError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = 3_000
LAST_DAY = dt.datetime(9999, 12, 31)


def packed(table, **options):
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def opened(content, **options):
    return pq.ParquetFile(io.BytesIO(content), **options)


def chunk(content, group, column):
    """Bytes of a column chunk, and what the footer says of it besides its place."""
    meta = opened(content).metadata.row_group(group).column(column)
    start = min(filter(None, (meta.dictionary_page_offset, meta.data_page_offset)))
    data = content[start : start + meta.total_compressed_size]
    assert data
    statistics = None if meta.statistics is None else meta.statistics.to_dict()
    return data, meta.compression, meta.encodings, statistics, meta.num_values


def nested_table(prompts):
    numbers = range(len(prompts))
    kinds = pa.map_(pa.string(), pa.int64())
    return pa.table(
        {
            "prompt": prompts,
            "n": numbers,
            "list": [[i] * (i % 3) for i in numbers],
            "struct": [{"a": i, "b": {"c": None if i % 7 else str(i)}} for i in numbers],
            "map": pa.array([[("k", i)] for i in numbers], kinds),
            "kind": pa.array(["ab"[i % 2] for i in numbers]).dictionary_encode(),
        }
    )


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"compression": {"prompt": "gzip", "n": "none"}, "data_page_version": "2.0"},
        {"store_schema": False, "version": "1.0", "write_statistics": False},
        {"use_dictionary": False, "data_page_size": 1_000, "write_page_index": True},
    ],
    ids=["zstd", "mixed", "no Arrow schema", "small pages"],
)
def test_column_chunks_are_copied(score_bytes, options):
    table = nested_table([f"p{i}" for i in range(ROWS)])
    content = packed(table, row_group_size=1_000, **options)
    out, _ = score_bytes(content, ".parquet")
    meta = opened(content).metadata
    for group in range(3):
        for column in range(meta.num_columns):
            assert chunk(out, group, column) == chunk(content, group, column)
    assert opened(out).read().drop_columns(["score", "model"]).equals(opened(content).read())


def test_only_the_row_group_with_bad_rows_is_encoded_anew(score_bytes):
    table = nested_table([None if 1_200 <= i < 1_210 else f"p{i}" for i in range(ROWS)])
    content = packed(table, row_group_size=1_000, compression="zstd")
    out, summary = score_bytes(content, ".parquet", on_error="skip")
    for column in range(opened(content).metadata.num_columns):
        for group in (0, 2):
            assert chunk(out, group, column) == chunk(content, group, column)
    assert [opened(out).metadata.row_group(group).num_rows for group in range(3)] == [1_000, 990, 1_000]
    assert summary.skipped == 10
    good = table.filter(table["prompt"].is_valid())
    scored = opened(out).read()
    assert scored.drop_columns(["score", "model"]).equals(good)
    np.testing.assert_array_equal(scored["score"], [np.float32(len(text) / 100) for text in good["prompt"].to_pylist()])


class TestInt96:
    """Timestamps as Spark and Hive have long written them."""

    def dates_in(self, content, column="when"):
        return opened(content, coerce_int96_timestamp_unit="us").read()[column].to_pylist()

    @pytest.mark.parametrize("on_error", ["fail", "skip"])
    def test_dates_past_2262_are_kept(self, score_bytes, on_error):
        dates = [dt.datetime(1, 1, 1), dt.datetime(2020, 2, 3, 4, 5, 6, 7), LAST_DAY]
        table = pa.table({"prompt": ["a", "b", "c"], "when": pa.array(dates, pa.timestamp("us"))})
        content = packed(table, use_deprecated_int96_timestamps=True, store_schema=False)
        out, _ = score_bytes(content, ".parquet", on_error=on_error)
        assert chunk(out, 0, 1) == chunk(content, 0, 1)
        assert self.dates_in(out) == dates

    def test_also_where_rows_are_left_out(self, score_bytes):
        dates = [LAST_DAY, None, LAST_DAY]
        table = pa.table({"prompt": ["a", None, "c"], "when": pa.array(dates, pa.timestamp("us"))})
        out, _ = score_bytes(packed(table, use_deprecated_int96_timestamps=True), ".parquet", on_error="skip")
        assert self.dates_in(out) == [LAST_DAY, LAST_DAY]
        assert opened(out).schema.column(1).physical_type == "INT96"

    def test_nanoseconds_are_kept_where_they_reach(self, score_bytes):
        table = pa.table({"prompt": ["a", None, "c"], "when": pa.array([1, 2, 3], pa.timestamp("ns"))})
        out, _ = score_bytes(packed(table, use_deprecated_int96_timestamps=True), ".parquet", on_error="skip")
        assert opened(out).read()["when"].cast(pa.int64()).to_pylist() == [1, 3]

    def test_in_a_file_that_can_not_be_copied(self, score_bytes):
        lists = pa.array([[LAST_DAY], [LAST_DAY], []], pa.list_(pa.timestamp("us")))
        table = pa.table({"prompt": ["a", None, "c"], "when": lists})
        options = {"use_deprecated_int96_timestamps": True, "use_compliant_nested_type": False}
        out, _ = score_bytes(packed(table, store_schema=False, **options), ".parquet", on_error="skip")
        assert self.dates_in(out) == [[LAST_DAY], []]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_encrypted_files(score_bytes, tmp_path, plaintext_footer, on_error):
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):
        def __init__(self, _):
            super().__init__()

        def wrap_key(self, key, _):
            return key.hex()

        def unwrap_key(self, key, _):
            return bytes.fromhex(key)

    table = pa.table({"prompt": ["hi"], "secret": ["x"]})
    settings = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"k": ["secret"]}, plaintext_footer=plaintext_footer
    )
    properties = encryption.CryptoFactory(Keys).file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    content = io.BytesIO()
    with pq.ParquetWriter(content, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    message = (
        "encrypted columns; decrypt the file first" if plaintext_footer else "not a readable Parquet file: .*encrypted"
    )
    with pytest.raises(DataError, match=message):
        score_bytes(content.getvalue(), ".parquet", on_error=on_error)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_names_with_dots(score_bytes, on_error):
    table = pa.table({"a": [{"b": "no"}] * 2, "a.b": ["x" * 60, "y"], "a.b.c": [1, 2]})
    out, _ = score_bytes(packed(table), ".parquet", column="a.b", on_error=on_error)
    assert opened(out).read()["score"].to_pylist() == [np.float32(0.6), np.float32(0.01)]
    with pytest.raises(DataError, match=r"no column 'a\.c'"):
        score_bytes(packed(table), ".parquet", column="a.c", overwrite=True)


def test_row_groups_without_rows(score_bytes):
    content = io.BytesIO()
    with pq.ParquetWriter(content, pa.schema([("prompt", pa.string())])) as writer:
        for prompts in ([], ["a"], [], [None, "b"], []):
            writer.write_table(pa.table({"prompt": pa.array(prompts, pa.string())}))
    out, summary = score_bytes(content.getvalue(), ".parquet", on_error="skip")
    assert opened(out).read()["prompt"].to_pylist() == ["a", "b"]
    assert [bad.row for bad in summary.first_skipped] == [2]


def test_a_row_of_60_megabytes(score_bytes, router):
    table = pa.table({"prompt": ["a", "x" * 60_000_000, "b"], "id": [1, 2, 3]})
    out, _ = score_bytes(packed(table, compression="zstd"), ".parquet")
    assert opened(out).read()["model"].to_pylist() == ["small", "large", "small"]


class TestRowsAtATime:
    """Batches are bounded in bytes even where the footer does not tell how long the prompts are."""

    def sizes(self, score_bytes, router, column, **options):
        out, _ = score_bytes(packed(pa.table({"prompt": column}), **options), ".parquet")
        assert opened(out).metadata.num_rows == len(column) == sum(router.batch_sizes)
        return router.batch_sizes

    @pytest.mark.parametrize("store_schema", [True, False])
    def test_a_text_that_all_rows_share(self, score_bytes, router, store_schema):
        column = pa.DictionaryArray.from_arrays(np.zeros(2_000, np.int32), ["x" * 100_000])
        sizes = self.sizes(score_bytes, router, column, store_schema=store_schema)
        assert max(sizes) * 100_000 <= 8 << 20

    def test_long_texts_beside_short_ones(self, score_bytes, router):
        texts = ["short"] * 100_000 + [f"{i}{'x' * 100_000}" for i in range(200)]
        sizes = self.sizes(score_bytes, router, texts, use_dictionary=False, row_group_size=200_000)
        assert max(sizes) > 4_000
        assert sizes[-1] * 100_000 <= 32 << 20

    def test_short_texts_still_come_in_large_batches(self, score_bytes, router):
        texts = [f"{i} {'word ' * 20}" for i in range(50_000)]
        assert np.median(self.sizes(score_bytes, router, texts)) > 4_000


class TestDamage:
    """Beside the prompts, which are read; the others are only where a row group is encoded anew."""

    @pytest.fixture
    def damaged(self):
        texts = [None if i in (1_500, 2_500) else f"p{i}" for i in range(4_000)]
        table = pa.table({"prompt": texts, "other": [f"{i} {'ab' * (i % 40)}" for i in range(4_000)]})
        content = bytearray(packed(table, row_group_size=1_000, use_dictionary=False))
        start = opened(bytes(content)).metadata.row_group(2).column(1).data_page_offset
        content[start + 500 : start + 2_500] = b"\xff" * 2_000
        return bytes(content)

    def test_the_rest_of_the_file_is_lost(self, score_bytes, damaged):
        out, summary = score_bytes(damaged, ".parquet", on_error="skip")
        assert opened(out).read()["prompt"].to_pylist() == [f"p{i}" for i in range(2_000) if i != 1_500]
        assert (summary.rows, summary.skipped, summary.lost) == (1_999, 2, 1)
        assert [bad.row for bad in summary.first_skipped] == [1_501, 2_501, 2_001]
        assert summary.first_skipped[-1].reason.startswith("damaged in row group 3: ")
        scored = opened(out).read()
        assert summary.routers[0].strong_rows == scored["model"].to_pylist().count("large")

    def test_other_files_are_not(self, tmp_path, router, damaged):
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.parquet").write_bytes(damaged)
        (tmp_path / "in" / "b.parquet").write_bytes(packed(pa.table({"prompt": ["hi"]})))
        summary = score_log(tmp_path / "in", tmp_path / "out", router, on_error="skip")
        assert (summary.rows, summary.lost) == (2_000, 1)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_end_in_a_typed_error_or_a_readable_file(score_bytes, seed):
    pytest.importorskip("pyarrow", minversion="20", reason="older ones may end the process on such files")
    random = np.random.default_rng(seed)
    table = nested_table([None if i % 97 == 3 else f"p{i % 50}" for i in range(400)])
    contents = [packed(table, row_group_size=100), packed(table, row_group_size=200, data_page_version="2.0")]
    for content in contents * 15:
        data = np.frombuffer(content, np.uint8).copy()
        begin = random.choice([0, len(data) - 2_000])
        at = random.integers(begin, len(data), random.integers(1, 4))
        data[at] = random.integers(0, 256, len(at))
        try:
            out, _ = score_bytes(data.tobytes(), ".parquet", on_error="skip", overwrite=True)
        except FastrouteError:
            continue
        assert opened(out).schema_arrow.names[-2:] == ["score", "model"]
