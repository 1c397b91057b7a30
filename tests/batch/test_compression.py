"""Compressed streams: members read through, every damage told, memory bounded, whole members written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from fastroute.batch import compression
from fastroute.batch.compression import KINDS, Compressor, compression_of, decompressed, without_compression
from fastroute.batch.formats.lines import Lines
from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError

if sys.version_info < (3, 14):
    pytest.importorskip("pyarrow", reason="zstd needs pyarrow before Python 3.14")

LINES = [b'{"id": %d, "prompt": "%s"}\n' % (i, b"word %d " % (i * i) * (i % 7)) for i in range(400)]
CONTENT = b"".join(LINES)
TOOLS = {"gzip": "gzip", "zstd": "zstd", "bz2": "bzip2", "xz": "xz"}
UNCHECKED = () if sys.version_info >= (3, 14) else ("zstd",)  # Arrow writes frames without a checksum
ARROW_STEP = 128 << 10  # and what it read just before an error is lost
NOISE = random.Random(5).randbytes(300_000)


def compressed(kind: str, *members: bytes) -> bytes:
    sink = io.BytesIO()
    with Compressor(sink, kind) as out:
        for member in members:
            out.write(member)
            out.end_member()
    return sink.getvalue()


def content_of(data: bytes, kind: str) -> bytes:
    with decompressed(io.BytesIO(data), kind, "log") as stream:
        return stream.read()


def read_until_error(data: bytes, kind: str) -> tuple[bytes, str | None]:
    """Content that single reads give, and the error that ends them."""
    got = []
    with decompressed(io.BytesIO(data), kind, "log") as stream:
        try:
            while piece := stream.read1(1000):
                got.append(piece)
        except DataError as error:
            with pytest.raises(DataError, match=r"^log: "):  # and not the end of a file that looks whole
                stream.read1(1000)
            return b"".join(got), str(error)
    return b"".join(got), None


@pytest.mark.parametrize(
    ("path", "kind", "without"),
    [
        ("log.jsonl.gz", "gzip", "log.jsonl"),
        ("a.b/log.csv.ZST", "zstd", "a.b/log.csv"),
        ("log.bz2", "bz2", "log"),
        ("log.tsv.Xz", "xz", "log.tsv"),
        ("log.gz.xz", "xz", "log.gz"),
        ("log.jsonl", None, "log.jsonl"),
        ("log.gz/x", None, "log.gz/x"),
        ("log.gz/", None, "log.gz/"),
        (".gz", None, ".gz"),
        ("gz", None, "gz"),
        ("log.tgz", None, "log.tgz"),
        ("log.gz ", None, "log.gz "),
        ("", None, ""),
        ("-", None, "-"),
    ],
)
def test_suffixes(path, kind, without):
    assert compression_of(path) == kind
    assert without_compression(path) == without


@pytest.mark.parametrize("kind", KINDS)
class TestEachKind:
    def test_round_trip(self, kind):
        for content in (b"", b"a", CONTENT, NOISE, bytes(3 << 20)):
            assert content_of(compressed(kind, content), kind) == content

    def test_lines_of_a_compressed_file(self, kind):
        lines = Lines(decompressed(io.BytesIO(compressed(kind, CONTENT)), kind, "log"), "log")
        assert [line.raw for line in lines] == LINES
        assert lines.position == len(CONTENT)

    def test_readline_honours_its_limit(self, kind):
        line = NOISE.replace(b"\n", b" ") * 10 + b"\n"
        with decompressed(io.BytesIO(compressed(kind, line + b"next\n")), kind, "log") as stream:
            assert stream.readline(1_000_000) == line[:1_000_000]
            assert stream.readline(10_000_000) == line[1_000_000:]
            assert stream.readline(10_000_000) == b"next\n"
            assert stream.readline(10_000_000) == b""

    def test_members_one_after_the_other(self, kind):
        parts = [CONTENT[:5], b"", CONTENT[5:3000], NOISE, CONTENT[3000:]]
        data = b"".join(compressed(kind, part) for part in parts)
        assert content_of(data, kind) == b"".join(parts)
        assert content_of(compressed(kind, *parts), kind) == b"".join(parts)

    def test_ten_thousand_members_of_a_line(self, kind):
        member = compressed(kind, LINES[3])
        assert content_of(member * 10_000, kind) == LINES[3] * 10_000

    def test_streams_that_read_a_byte_at_a_time(self, kind):
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(1)

        data = compressed(kind, b"one\n", b"two\n")
        assert decompressed(Slow(data), kind, "log").read() == b"one\ntwo\n"
        for junk in (b"x", b"\x1f\x8c", b"\xfd8zXZ\0"):
            with pytest.raises(DataError):
                decompressed(Slow(data + junk), kind, "log").read()

    def test_neither_end_closes_the_stream(self, kind):
        sink = io.BytesIO()
        out = Compressor(sink, kind)
        out.write(b"a")
        out.close()
        out.close()
        sink.seek(0)
        with decompressed(sink, kind, "log") as stream:
            assert stream.read() == b"a"
        with pytest.raises(ValueError, match="closed"):
            out.write(b"b")
        del stream, out
        assert not sink.closed

    def test_what_it_says_of_data_of_another_kind(self, kind):
        with pytest.raises(DataError, match=rf"^log: expected {kind} data, found data that begins with b'"):
            content_of(CONTENT, kind)
        for other in KINDS:
            if other != kind:
                with pytest.raises(DataError, match=f"^log: expected {kind} data, found data that begins with"):
                    content_of(compressed(other, CONTENT), kind)

    def test_every_prefix_is_cut_short_unless_it_ends_with_a_member(self, kind):
        parts = [b"".join(LINES[:20]), b"".join(LINES[20:25])]
        members = [compressed(kind, part) for part in parts]
        data = b"".join(members)
        for length in range(len(data)):
            got, error = read_until_error(data[:length], kind)
            if length == len(members[0]):
                assert (got, error) == (parts[0], None)
                continue
            assert error is not None
            assert error.startswith(f"log: {kind} data cut short after ")
            assert error.endswith(f" after {len(got)} bytes of content")
            assert b"".join(parts).startswith(got)
            if kind not in UNCHECKED and length > len(members[0]):
                assert got.startswith(parts[0])

    def test_no_flipped_bit_changes_the_content_unnoticed(self, kind):
        data = compressed(kind, b"".join(LINES[:12]))
        for at in range(len(data)):
            flipped = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
            got, error = read_until_error(flipped, kind)
            if kind not in UNCHECKED:
                assert error is not None or got == b"".join(LINES[:12])
            assert error is None or error.startswith("log: ")

    def test_damage_in_the_middle_comes_after_the_lines_before_it(self, kind):
        content = random.Random(2).randbytes(2_000_000).hex().encode()
        data = bytearray(compressed(kind, content))
        middle = len(data) // 2
        data[middle : middle + 200_000] = b"\xff" * 200_000  # over the header of a block: contents may be anything
        got, error = read_until_error(bytes(data), kind)
        assert got[:1_000_000] == content[:1_000_000]
        assert error is not None
        assert error.startswith(f"log: {kind} data damaged after {len(got)} bytes of content: ")

    def test_junk_behind_the_last_member(self, kind):
        for junk in (b"junk", b"\0junk", b"\n", CONTENT):
            got, error = read_until_error(compressed(kind, CONTENT) + junk, kind)
            assert got == CONTENT[: len(got)]
            assert len(got) == len(CONTENT) or (kind in UNCHECKED and len(got) > len(CONTENT) - ARROW_STEP)
            assert error is not None
            assert error.startswith(f"log: {kind} data ")
            assert f" after {len(got)} bytes of content" in error

    def test_a_disk_that_fails_is_named(self, kind):
        class Failing(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell() >= 100_000:
                    raise OSError(5, "Input/output error")
                return super().read(100_000)

        stream = decompressed(Failing(compressed(kind, NOISE)), kind, "log")
        with pytest.raises(DataError, match=r"^log: can't be read: Input/output error$"):
            stream.read()
        with pytest.raises(DataError, match=r"^log: can't be read: Input/output error$"):
            list(Lines(decompressed(Failing(compressed(kind, NOISE)), kind, "log"), "log"))

    def test_files_of_the_command_line_tool(self, kind, tmp_path):
        tool = shutil.which(TOOLS[kind])
        if tool is None:
            pytest.skip(f"{TOOLS[kind]} is not installed")
        path = tmp_path / "log"
        path.write_bytes(CONTENT + NOISE)
        flags: dict[str, list[list[str]]] = {
            "gzip": [["-1"], ["-9"]],
            "zstd": [["-T2"], ["-19", "--long"], ["--no-check"]],
            "bz2": [["-1"]],
            "xz": [["-T2", "-0", "--block-size=65536"], ["-9"]],
        }
        packed = [
            subprocess.run([tool, "-c", *flag, path], capture_output=True, check=True).stdout for flag in flags[kind]
        ]
        for data in packed:
            assert content_of(data, kind) == CONTENT + NOISE
        assert content_of(b"".join(packed), kind) == (CONTENT + NOISE) * len(packed)

    def test_no_flipped_bit_of_a_file_of_the_command_line_tool_goes_unnoticed(self, kind):
        tool = shutil.which(TOOLS[kind])
        if tool is None:
            pytest.skip(f"{TOOLS[kind]} is not installed")
        content = b"".join(LINES[:12])
        data = subprocess.run([tool, "-c"], input=content, capture_output=True, check=True).stdout
        for at in range(len(data)):
            got, error = read_until_error(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :], kind)
            assert error is not None or got == content

    def test_the_command_line_tool_reads_what_is_written(self, kind):
        tool = shutil.which(TOOLS[kind])
        if tool is None:
            pytest.skip(f"{TOOLS[kind]} is not installed")
        data = compressed(kind, CONTENT, NOISE)
        run = subprocess.run([tool, "-dc"], input=data, capture_output=True, check=True)
        assert run.stdout == CONTENT + NOISE
        assert run.stderr == b""

    def test_every_end_of_a_member_leaves_a_whole_file(self, kind):
        sink = io.BytesIO()
        out = Compressor(sink, kind)
        out.end_member()
        assert content_of(sink.getvalue(), kind) == b""
        written = b""
        for part in (LINES[:3], LINES[3:200], [NOISE] * 4, [], LINES[200:]):
            out.writelines(part)
            written += b"".join(part)
            out.end_member()
            assert content_of(sink.getvalue(), kind) == written
        size = len(sink.getvalue())
        out.end_member()
        out.close()
        assert len(sink.getvalue()) == size

    def test_the_same_writes_give_the_same_bytes(self, kind):
        assert compressed(kind, CONTENT, NOISE) == compressed(kind, CONTENT, NOISE)

    def test_an_exception_leaves_no_file_that_looks_whole(self, kind):
        sink = io.BytesIO()
        out = Compressor(sink, kind)
        with pytest.raises(ZeroDivisionError), out:
            out.write(NOISE * 2) / 0
        before = sink.getvalue()
        with pytest.raises(ValueError, match="closed"):
            out.write(b"a")
        out.close()
        del out
        assert sink.getvalue() == before
        with pytest.raises(DataError, match="cut short"):
            content_of(before, kind)

    def test_one_that_is_forgotten_writes_no_more(self, kind):
        sink = io.BytesIO()
        Compressor(sink, kind).write(NOISE)
        with pytest.raises(DataError, match="cut short"):
            content_of(sink.getvalue(), kind)


def test_gzip_has_no_time_and_no_name():
    data = compressed("gzip", CONTENT)
    assert data[3:8] == bytes(5)  # flags and time
    assert gzip.decompress(data) == CONTENT
    assert bz2.decompress(compressed("bz2", CONTENT)) == CONTENT
    assert lzma.decompress(compressed("xz", CONTENT)) == CONTENT


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zeros_between_and_behind_members(kind):
    a, b = compressed(kind, b"a"), compressed(kind, b"b")
    assert content_of(a + bytes(8) + b + bytes(3 << 20), kind) == b"ab"
    with pytest.raises(DataError, match=rf"^log: expected {kind} data, found data that begins with b'\\x00"):
        content_of(bytes(8) + a, kind)


def test_gzip_with_a_name_a_comment_and_a_time():
    header = b"\x1f\x8b\x08\x18\x01\x02\x03\x04\x00\x03name\0comment\0"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(CONTENT) + deflate.flush()
    tail = zlib.crc32(CONTENT).to_bytes(4, "little") + len(CONTENT).to_bytes(4, "little")
    assert content_of(header + body + tail, "gzip") == CONTENT
    wrong = [tail[:4] + b"\0\0\0\0", b"\0\0\0\0" + tail[4:]]
    for end in wrong:
        got, error = read_until_error(header + body + end, "gzip")
        assert error is not None
        assert "gzip data damaged after" in error
        assert CONTENT.startswith(got)


def test_frames_of_zstd_that_hold_nothing_are_skipped():
    note = b"\x5a\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    a, b = compressed("zstd", b"a"), compressed("zstd", b"b")
    assert content_of(note + a + note + note + b + note, "zstd") == b"ab"
    for length in range(len(a) + 1, len(a) + len(note)):
        with pytest.raises(DataError, match=r"cut short after [01] bytes of content"):
            content_of((a + note)[:length], "zstd")


def test_xz_that_asks_for_too_much_memory():
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 8 << 20}]
    data = bytearray(lzma.compress(CONTENT, filters=filters))
    assert content_of(bytes(data), "xz") == CONTENT
    # The block's header: size, flags, filter 0x21, one byte of properties, which says 1.5 GiB, ...
    assert data[14:16] == b"\x21\x01"
    data[16] = 37 + 2
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    with pytest.raises(DataError, match=r"^log: xz data damaged after 0 bytes of content: .*[Mm]emory"):
        content_of(bytes(data), "xz")


def test_zstd_that_asks_for_too_much_memory():
    # A frame with a window of 2 GiB, and one block of its last byte.
    data = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3]) + b"\x09\x00\x00" + b"a"
    with pytest.raises(DataError, match=r"^log: zstd data damaged after 0 bytes of content: "):
        content_of(data, "zstd")


def test_unknown_kinds():
    with pytest.raises(InvalidArgumentError, match="kind: found 'lz4', allowed: gzip, zstd, bz2, xz"):
        decompressed(io.BytesIO(), "lz4", "log")
    with pytest.raises(InvalidArgumentError, match="kind: found 'gz', allowed: gzip, zstd, bz2, xz"):
        Compressor(io.BytesIO(), "gz")


def test_zstd_without_a_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    for make in (lambda: decompressed(io.BytesIO(), "zstd", "log"), lambda: Compressor(io.BytesIO(), "zstd")):
        with pytest.raises(MissingDependencyError, match=r"pip install 'fastroute\[batch\]'"):
            make()
    assert content_of(compressed("gzip", CONTENT), "gzip") == CONTENT


def test_zstd_of_python_and_of_arrow_read_each_other(monkeypatch):
    if sys.version_info < (3, 14):
        pytest.skip("Python 3.14 has its own zstd")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    own = compressed("zstd", CONTENT, NOISE)
    monkeypatch.setattr(compression, "_python_zstd", lambda: None)
    assert content_of(own, "zstd") == CONTENT + NOISE
    arrows = compressed("zstd", CONTENT, NOISE)
    monkeypatch.undo()
    assert content_of(arrows, "zstd") == CONTENT + NOISE


BOMB = """
import sys
from pathlib import Path
from fastroute.batch.compression import decompressed
from fastroute.batch.formats.lines import Lines

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

small, large, kind, how = sys.argv[1:]
def drain(path):
    with open(path, "rb") as file, decompressed(file, kind, path) as stream:
        if how == "lines":
            return sum(line.raw is None for line in Lines(stream, path))
        return sum(map(len, iter(lambda: stream.read(1 << 16), b"")))
drain(small)
before = peak()
assert drain(large) == (1 if how == "lines" else 200 << 20)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("how", "limit_mb"), [("read", 24), ("lines", 160)])
def test_a_bomb_takes_little_memory(kind, how, limit_mb, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(compressed(kind, bytes(1 << 20)))
    piece = bytes(1 << 20)
    with large.open("wb") as file, Compressor(file, kind) as out:
        for _ in range(200):
            out.write(piece)
    assert large.stat().st_size < 1 << 20
    run = subprocess.run(
        [sys.executable, "-c", BOMB, small, large, kind, how], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) / 1024 < limit_mb
