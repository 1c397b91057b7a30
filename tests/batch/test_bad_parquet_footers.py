"""Footers of Parquet files that are damaged, hostile, or tell of chunks that can't be copied."""

from __future__ import annotations

import base64
import datetime as dt
import io
import random
import tracemalloc
from collections.abc import Callable

import pytest

from fastroute.batch.formats import thrift
from fastroute.batch.formats.parquet_footers import MAX_FOOTER_BYTES, Footer, assembled
from fastroute.batch.formats.parquet_groups import RowGroup
from fastroute.batch.formats.thrift import (
    BINARY,
    I32,
    I64,
    LIST,
    STRUCT,
    Fields,
    encode_binary,
    encode_integer,
    encode_struct,
)
from fastroute.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Edit = Callable[[Fields], None]


def packed(rows: int = 90, **options: object) -> bytes:
    buffer = io.BytesIO()
    columns = {"prompt": [f"what is {i}" for i in range(rows)], "tags": [[i, None] for i in range(rows)]}
    pq.write_table(pa.table(columns), buffer, row_group_size=30, **options)
    return buffer.getvalue()


def thrift_of(content: bytes) -> bytes:
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


def edited_list(value: bytes, edit: Edit, wanted: int) -> bytes:
    """Change one struct in a list of structs."""
    reader = thrift.Reader(value)
    structs = [reader.struct() for _ in range(reader.structs(LIST))]
    edit(structs[wanted])
    return thrift.encode_structs(len(structs), map(encode_struct, structs))


def edited(content: bytes, *, file: Edit | None = None, group: Edit | None = None, chunk: Edit | None = None) -> bytes:
    """Change a file's footer: FileMetaData, the second RowGroup, or the second ColumnChunk of that."""
    fields = thrift.Reader(thrift_of(content)).struct()
    if chunk:

        def group(fields: Fields) -> None:
            fields[1] = LIST, edited_list(fields[1][1], chunk, 1)

    if group:
        fields[4] = LIST, edited_list(fields[4][1], group, 1)
    if file:
        file(fields)
    footer = encode_struct(fields)
    return content[: -8 - len(thrift_of(content))] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def setting(field: int, kind: int, value: bytes) -> Edit:
    return lambda fields: fields.update({field: (kind, value)})


def dropping(field: int) -> Edit:
    return lambda fields: fields.pop(field) and None


def in_meta(edit: Edit) -> Edit:
    def change(chunk: Fields) -> None:
        meta = thrift.Reader(chunk[3][1]).struct()
        edit(meta)
        chunk[3] = STRUCT, encode_struct(meta)

    return change


def number(field: int, value: int) -> Edit:
    return in_meta(setting(field, I64, encode_integer(value)))


def read(content: bytes) -> Footer:
    return Footer.read(io.BytesIO(content), "in.parquet")


UNCOPYABLE = {
    "in another file": (
        {"chunk": setting(1, BINARY, encode_binary(b"part-0"))},
        "row group 1, column 1 lies in another",
    ),
    "crypto metadata": ({"chunk": setting(8, STRUCT, b"\0")}, "row group 1, column 1 is encrypted"),
    "encrypted metadata": ({"chunk": setting(9, BINARY, encode_binary(b"?"))}, "row group 1, column 1 is encrypted"),
    "encryption": ({"file": setting(8, STRUCT, b"\0")}, "columns are encrypted"),
    "no metadata": ({"chunk": dropping(3)}, "row group 1, column 1 is described elsewhere"),
    "negative length": ({"chunk": number(7, -5)}, "lies before the file"),
    "negative start": ({"chunk": number(9, -5)}, "lies before the file"),
    "in the head": ({"chunk": in_meta(lambda meta: meta.update({9: (I64, b"\4"), 11: (I64, b"\4")}))}, "at byte 2"),
    "no bytes": ({"chunk": number(7, 0)}, "has values in no bytes"),
    "dictionary behind the data": ({"chunk": number(11, 1 << 40)}, "has pages outside of its bytes"),
    "above 64 bits together": ({"chunk": number(7, (1 << 63) - 1)}, "overlap"),
    "overlap": ({"chunk": in_meta(lambda meta: meta.update({9: (I64, b"\x28"), 11: (I64, b"\0")}))}, "overlap"),
    "rows": ({"file": setting(3, I64, encode_integer(91))}, "row groups have 90 rows, the footer says 91"),
    "columns": ({"group": setting(1, LIST, b"\x0c")}, "row group 1 has 0 column chunks, the schema has 2 columns"),
    "parquet-mr": ({"file": setting(6, BINARY, encode_binary(b"parquet-mr version 1.2.8 (x)"))}, "parquet-mr before"),
    "parquet-mr of no version": ({"file": setting(6, BINARY, encode_binary(b"parquet-mr"))}, "parquet-mr before"),
    "fastparquet": (
        {"file": setting(6, BINARY, encode_binary(b"fastparquet-python version 1.0.0 (build 111)"))},
        "early versions of fastparquet",
    ),
}


@pytest.mark.parametrize("case", UNCOPYABLE)
def test_chunks_that_can_not_be_copied_are_named(case):
    edits, message = UNCOPYABLE[case]
    found = read(edited(packed(), **edits)).uncopyable
    assert found is not None
    assert message in found


def test_a_chunk_beyond_the_data_is_named():
    content = edited(packed(), group=None, file=None)
    assert read(content).uncopyable is None
    last = read(content).groups[-1].chunks[-1]
    data = thrift_of(content)
    assert Footer.parsed(data, "x", sum(last)).uncopyable is None
    assert Footer.parsed(data, "x").uncopyable is None
    assert Footer.parsed(data, "x", sum(last) - 1).uncopyable == (
        f"a column chunk ends at byte {sum(last)}, the data at byte {sum(last) - 1}"
    )


def test_bytes_after_the_footer_are_named():
    assert Footer.parsed(thrift_of(packed()) + b"?", "x").uncopyable == "bytes follow the footer"


@pytest.mark.parametrize("writer", ["parquet-mr version 1.2.9", "parquet-mr version 1.10.1-x", "Impala version 0.1.2"])
def test_writers_that_know_how_to_count_are_trusted(writer):
    content = edited(packed(), file=setting(6, BINARY, encode_binary(writer.encode())))
    assert (read(content).uncopyable, read(content).created_by) == (None, writer)


# A map of i32 to structs with a list of booleans, a double and a field far away.
INNER = b"\x19\x23\x01\x02" + b"\x17" + b"\1" * 8 + b"\x09\xf0\x2e\x15\4" + b"\0"
UNKNOWN = b"\2\x5c" + encode_integer(-7) + INNER + encode_integer(1 << 31) + b"\0"


def test_fields_of_newer_writers_are_kept_and_extensions_with_places_are_dropped():
    news = [setting(400, 11, UNKNOWN), setting(401, 1, b""), setting(32767, BINARY, encode_binary(b"places"))]

    def add(fields: Fields) -> None:
        for new in news:
            new(fields)

    def add_everywhere(chunk: Fields) -> None:
        add(chunk)
        in_meta(add)(chunk)

    content = edited(edited(edited(packed(), chunk=add_everywhere), group=add), file=add)
    base = read(content)
    assert pq.ParquetFile(io.BytesIO(content)).read().num_rows == 90  # pyarrow can read what this test has made
    groups = [group.relocated([start for start, _ in group.chunks]) for group in base.groups]
    again = content[: -8 - len(thrift_of(content))] + assembled(base, None, groups)
    assert (content.count(UNKNOWN), content.count(b"places")) == (4, 4)
    assert (again.count(UNKNOWN), again.count(b"places")) == (4, 0)
    fields = thrift.Reader(thrift_of(again)).struct()
    assert (fields[400], fields[401]) == ((11, UNKNOWN), (1, b""))
    assert pq.read_table(io.BytesIO(again)).equals(pq.read_table(io.BytesIO(packed())))


def test_a_uuid_is_kept():  # a type that older versions of pyarrow refuse
    content = edited(packed(), file=setting(400, thrift.UUID, b"0123456789abcdef"))
    again = assembled(read(content), None, read(content).groups)
    assert again == content[-len(again) :]
    assert b"0123456789abcdef" in again


def test_what_is_no_parquet_file_is_said():
    good = packed()
    for content, message in [
        (b"", "in.parquet: not a Parquet file: 0 bytes, the least is 12"),
        (b"PAR1PAR1", "in.parquet: not a Parquet file: 8 bytes, the least is 12"),
        (b"{" * 40, "in.parquet: not a Parquet file: it begins with b'{{{{', not with b'PAR1'"),
        (good[:-1], "no Parquet file, or one cut short: it ends with b'"),
        (good[:-8] + b"\xff\xff\xff\xffPAR1", "the Parquet footer takes 4294967295 bytes as it says, of a file of"),
        (good[:-8] + b"\0\0\0\0PAR1", "in.parquet: malformed Parquet footer: it ends too early"),
        (b"PARE" + b"\0" * 20 + b"PARE", "in.parquet: a Parquet file whose footer is encrypted"),
    ]:
        with pytest.raises(DataError) as caught:
            read(content)
        assert message in str(caught.value)


class Lying(io.BytesIO):
    """A file that is shorter than it says."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset, whence) if whence == 0 else 100_000


class Slow(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7))


def test_streams_that_give_less_than_was_asked_for():
    assert Footer.read(Slow(packed()), "x").rows == 90
    with pytest.raises(DataError, match="became shorter while it was read"):
        Footer.read(Lying(packed()), "x")


class Keys:
    """Made at the first use: pyarrow may have been built without encryption."""

    @staticmethod
    def properties(**options: object) -> object:
        encryption = pytest.importorskip("pyarrow.parquet.encryption", reason="this pyarrow encrypts nothing")

        class Client(encryption.KmsClient):
            def wrap_key(self, key: bytes, name: str) -> bytes:
                return base64.b64encode(name.encode() + key)

            def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
                return base64.b64decode(wrapped)[len(name) :]

        configuration = encryption.EncryptionConfiguration(
            footer_key="foot", cache_lifetime=dt.timedelta(minutes=5), data_key_length_bits=128, **options
        )
        factory = encryption.CryptoFactory(lambda _: Client())
        return factory.file_encryption_properties(encryption.KmsConnectionConfig(), configuration)


def test_encrypted_files_are_named_as_such():
    hidden = packed(encryption_properties=Keys.properties(column_keys={"col": ["prompt"]}))
    with pytest.raises(DataError, match=r"in\.parquet: a Parquet file whose footer is encrypted"):
        read(hidden)
    shown = packed(encryption_properties=Keys.properties(column_keys={"col": ["prompt"]}, plaintext_footer=True))
    assert read(shown).uncopyable == "columns are encrypted, or the footer is signed"


def use(footer: Footer) -> None:
    """Do all that can be done with a footer; only of what can be copied is it worth anything."""
    if footer.uncopyable is None:
        groups = [group.relocated([10 * i for i in range(len(group.chunks))]) for group in footer.groups]
        joined = [RowGroup.decoded(group.joined(group).encoded(), "journal") for group in groups]
        tail = assembled(footer, footer, joined, metadata={b"k": b"v"})
        assert Footer.parsed(tail[:-8], "again").columns == 2 * footer.columns


def test_a_footer_cut_anywhere_is_malformed():
    for data in (thrift_of(packed()), thrift_of(packed(write_page_index=True, write_statistics=False))):
        use(Footer.parsed(data, "x"))
        for end in range(len(data)):
            with pytest.raises(DataError, match=r"^x: malformed Parquet footer: "):
                Footer.parsed(data[:end], "x")


def test_a_row_group_cut_anywhere_is_malformed():
    data = read(packed()).groups[1].encoded()
    for end in range(len(data)):
        with pytest.raises(DataError, match=r"^x: malformed row group: "):
            RowGroup.decoded(data[:end], "x")
    with pytest.raises(DataError, match=r"^x: malformed row group: bytes follow it"):
        RowGroup.decoded(data + b"\0", "x")


def test_damage_gives_a_result_or_an_error_of_data():
    whole = packed()
    chance = random.Random(20_240_601)
    refused = 0
    for _ in range(2_000):
        data = bytearray(thrift_of(whole))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(data))
            if chance.random() < 0.5:
                data[at] ^= 1 << chance.randrange(8)
            elif chance.random() < 0.5:
                data[at:at] = chance.randbytes(chance.randrange(1, 12))
            else:
                del data[at : at + chance.randrange(1, 12)]
        try:
            footer = Footer.parsed(bytes(data), "x", len(whole))
            use(footer)
        except DataError:
            refused += 1
    assert 200 < refused < 2_000


LONG = 1 << 20
HOSTILE = {
    "a long integer": b"\x15" + b"\xff" * LONG,
    "a long integer in what is skipped": b"\x1c\x15" + b"\xff" * LONG,
    "an integer of 71 bits": b"\x26" + b"\xff" * 9 + b"\x7f\0",
    "a string beyond the end": b"\x18" + b"\xff" * 8 + b"\x7f",
    "a list longer than the footer": b"\x49\xfc\xff\xff\xff\xff\x07",
    "a list of booleans longer than the footer": b"\x49\xf1\xff\xff\xff\xff\x07",
    "row groups of nothing": b"\x49\xfc\x80\x80\x20" + b"\0" * LONG,
    "a schema of nothing": b"\x29\xfc\xff\xff\x3f" + b"\0" * LONG,
    "too many structs": b"\x59\xfc\x80\x80\x40" + b"\0" * LONG,
    "deep structs": b"\x1c" * LONG,
    "deep lists": b"\x19" + b"\x19" * LONG,
    "deep maps": b"\x1b" + b"\1\xbb" * LONG,
    "a map longer than the footer": b"\x1b\xff\xff\xff\x7f\x55\0\0",
    "no such type": b"\x1e\0",
    "type zero": b"\x10\0",
    "a field twice": b"\x15\2\x05\2\2\0",
    "a field below zero": b"\x05\1\2\0",
    "a field above 32767": b"\x05\xfe\xff\3\2\x15\2\x15\2\0",
    "nothing": b"\0",
    "a wrong type": b"\x15\2\x25\2\0",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_footers_are_refused_in_little_memory(case):
    data = HOSTILE[case]
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^x: malformed Parquet footer: "):
            Footer.parsed(data, "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(data) + 100_000


def test_lists_without_elements_need_no_type():
    content = edited(packed(0), file=lambda fields: fields.update({4: (LIST, b"\0"), 5: (LIST, b"\0")}))
    assert (read(content).groups, dict(read(content).metadata), read(content).uncopyable) == ((), {}, None)


def test_a_footer_above_the_limit_is_refused():
    class Sparse(io.BytesIO):
        """As a file of a gigabyte with a hole."""

        def seek(self, offset: int, whence: int = 0) -> int:
            return (1 << 30) + super().seek(max(0, offset - (1 << 30)) if whence == 0 else 0, whence)

    tail = (MAX_FOOTER_BYTES + 1).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(DataError, match="the most is 268435456"):
        Footer.read(Sparse(b"PAR1" + tail), "x")


def test_statistics_without_orders_for_all_columns_lose_the_orders():
    content = edited(packed(), file=setting(7, LIST, thrift.encode_structs(1, [b"\x1c\0\0"])))
    base = read(content)
    again = thrift.Reader(assembled(base, None, base.groups)[:-8]).struct()
    assert 7 not in again
    assert again[1] == (I32, thrift.Reader(thrift_of(content)).struct()[1][1])


def test_optional_places_move_or_point_nowhere():
    start, length = read(packed()).groups[1].chunks[1]
    for said, expected in [(start, 500), (start + 7, 507), (start + length, 0), (start - 1, 0), (0, 0)]:
        content = edited(packed(), chunk=setting(2, I64, encode_integer(said)))
        moved = thrift.Reader(read(content).groups[1].relocated([900, 500]).encoded()).struct()
        reader = thrift.Reader(moved[1][1])
        chunk = [reader.struct() for _ in range(reader.structs(LIST))][1]
        assert chunk[2] == (I64, encode_integer(expected))
        assert moved[5] == (I64, encode_integer(500))
    content = edited(packed(), group=dropping(5))
    assert 5 not in thrift.Reader(read(content).groups[1].relocated([900, 500]).encoded()).struct()


def test_numbers_of_row_groups_are_renewed_where_there_is_one_and_it_fits():
    group = read(edited(packed(), group=setting(7, thrift.I16, encode_integer(1)))).groups[1]
    for ordinal, expected in [(0, 0), (32_767, 32_767), (32_768, None)]:
        found = thrift.Reader(group.numbered(ordinal).encoded()).struct().get(7)
        assert found == (None if expected is None else (thrift.I16, encode_integer(expected)))
    unnumbered = read(edited(packed(), group=lambda fields: fields.pop(7, None) and None)).groups[1]
    assert unnumbered.numbered(3) == unnumbered
