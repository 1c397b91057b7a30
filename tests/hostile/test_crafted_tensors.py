"""Scorecard 14, second half: safetensors files that are wrong in one way each."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastroute.artifact import ROUTER, read_artifact
from fastroute.artifact.safetensors import decode, decode_metadata
from fastroute.errors import ArtifactCorruptError

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DATA = np.array([1.0, 2.0], "<f4").tobytes()


def framed(header: bytes, data: bytes = DATA, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def file(header: dict[str, Any], data: bytes = DATA) -> bytes:
    return framed(json.dumps(header).encode(), data)


def tensor(**changes: Any) -> bytes:
    """One float32 tensor of two values with some keys changed; `...` takes one away."""
    return file({"a": {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}})


def tensors(*spans: tuple[int, int], size: int) -> bytes:
    """Tensors of bytes at these offsets of a payload of `size` bytes."""
    return file(
        {
            f"t{i}": {"dtype": "U8", "shape": [max(end - begin, 0)], "data_offsets": [begin, end]}
            for i, (begin, end) in enumerate(spans)
        },
        bytes(size),
    )


def values(code: str, data: bytes, count: int) -> bytes:
    return file({"a": {"dtype": code, "shape": [count], "data_offsets": [0, len(data)]}}, data)


def one_bad(bad: float, at: int, code: str) -> bytes:
    return np.where(np.arange(3) == at, bad, 1).astype(code).tobytes()


TEXT = json.dumps({"a": GOOD}).encode()
FRAME = "the header must begin with '{' and end with '}', then spaces only"
SHAPE = "'shape' must be a list of at most 8 non-negative integers"
OFFSETS = "'data_offsets' must be two non-negative integers"
KEYS = "must have exactly the keys 'dtype', 'shape' and 'data_offsets'"
NAME = "must be 1 to 256 printable characters"
NOT_FINITE = "holds NaN or infinity"
OTHER_TYPES: list[Any] = [None, True, 1, 1.5, "text", [], {}]

FRAMES = [
    *[(f"{n} bytes", bytes(n), f"{n} bytes is too short") for n in range(8)],
    ("length 0", framed(b"", b""), FRAME),
    ("length 0 before a header", framed(TEXT, DATA, 0), FRAME),
    ("length 1", framed(TEXT, DATA, 1), FRAME),
    ("length one short", framed(TEXT, DATA, len(TEXT) - 1), "not valid JSON"),
    ("length one long", framed(TEXT, b"}" + DATA, len(TEXT) + 1), "not valid JSON"),
    ("length into the data", framed(TEXT, DATA, len(TEXT) + 4), FRAME),
    ("length past the end", framed(TEXT, DATA, len(TEXT) + 9), "but only"),
    ("length 2**18 + 1", framed(TEXT, DATA, 2**18 + 1), "at most 262144 are allowed"),
    ("length 100 MB", framed(TEXT, DATA, 100_000_000), "at most 262144 are allowed"),
    ("length 2**63", framed(TEXT, DATA, 2**63), "at most 262144 are allowed"),
    ("length 2**64-1", framed(TEXT, DATA, 2**64 - 1), "at most 262144 are allowed"),
    ("length 2**64-8", framed(TEXT, DATA, 2**64 - 8), "at most 262144 are allowed"),
    ("big-endian length", struct.pack(">Q", len(TEXT)) + TEXT + DATA, "at most 262144 are allowed"),
    ("leading space", framed(b" " + TEXT), FRAME),
    ("leading newline", framed(b"\n" + TEXT), FRAME),
    ("byte order mark", framed(b"\xef\xbb\xbf" + TEXT), FRAME),
    ("trailing newline", framed(TEXT + b"\n"), FRAME),
    ("trailing tab", framed(TEXT + b" \t"), FRAME),
    ("trailing NUL", framed(TEXT + b"\0"), FRAME),
    ("array", framed(b"[]", b""), FRAME),
    ("number", framed(b"1", b""), FRAME),
    ("two objects", framed(b"{}{}", b""), "not valid JSON"),
    ("junk", framed(b"{junk}", b""), "not valid JSON"),
    ("not UTF-8", framed(b'{"\xff": 1}', b""), "not valid JSON in UTF-8"),
    ("utf-16", framed("{}".encode("utf-16-le"), b""), FRAME),
    ("deep", framed(b'{"a":' * 100 + b"1" + b"}" * 100, b""), "nested deeper than 32 levels"),
    ("NaN", framed(b'{"a": NaN}', b""), "NaN is not a JSON number"),
    ("key twice", framed(TEXT[:-1] + b', "a": {}}'), "key 'a' occurs twice"),
    ("metadata twice", framed(b'{"__metadata__":{},"__metadata__":{}}', b""), "'__metadata__' occurs twice"),
    ("metadata key twice", framed(b'{"__metadata__":{"a":"b","a":"c"}}', b""), "key 'a' occurs twice"),
    ("dtype twice", framed(b'{"a":{"dtype":"F32","dtype":"F64"}}', b""), "key 'dtype' occurs twice"),
    ("5,000 digits", framed(b'{"a":' + b"9" * 5000 + b"}", b""), "does not fit 64 bits"),
    ("3,000 tensors", file({f"{i}": GOOD for i in range(3000)}), "too many JSON values"),
    ("half a surrogate pair", framed(b'{"\\ud800":{}}', b""), "half of a surrogate pair"),
    ("gzip", bytes.fromhex("1f8b080000000000"), "header of"),
    ("zip", b"PK\x03\x04" + bytes(40), "header of"),
    ("numpy", b"\x93NUMPY\x01\x00" + bytes(120), "header of"),
    ("zeros", bytes(64), FRAME),
    ("ones", b"\xff" * 64, "at most 262144 are allowed"),
]

METADATA = [
    *[
        (f"metadata {v!r}", file({"__metadata__": v}, b""), "__metadata__ must map strings to strings")
        for v in OTHER_TYPES
        if not isinstance(v, dict)
    ],
    *[
        (
            f"metadata of {v!r}",
            file({"__metadata__": {"k": v}}, b""),
            "__metadata__ must map strings to strings",
        )
        for v in OTHER_TYPES
        if not isinstance(v, str)
    ],
    ("metadata as a tensor", file({"__metadata__": GOOD}), "__metadata__ must map strings to strings"),
]

ENTRIES = [
    *[(f"entry {v!r}", file({"a": v}, b""), KEYS) for v in OTHER_TYPES],
    *[(f"no {key}", tensor(**{key: ...}), KEYS) for key in GOOD],
    ("one key more", tensor(stride=[1]), KEYS),
    *[
        (f"dtype {v!r}", tensor(dtype=v), "has dtype")
        for v in [*OTHER_TYPES, "", "f32", "F32 ", "F128", "C64", "F8_E4M3", "O", "object", "<f4", "|O", "V8"]
    ],
    ("very long dtype", tensor(dtype="x" * 10_000), "has dtype 'xxx"),
    *[(f"shape {v!r}", tensor(shape=v), SHAPE) for v in OTHER_TYPES if v != []],
    *[
        (f"shape {v!r}", tensor(shape=v), SHAPE)
        for v in [[-1], [2, -1], [True, 2], [2.0], ["2"], [None], [[2]], [{}], [1] * 8 + [2]]
    ],
    *[(f"offsets {v!r}", tensor(data_offsets=v), OFFSETS) for v in OTHER_TYPES],
    *[
        (f"offsets {v!r}", tensor(data_offsets=v), OFFSETS)
        for v in [[0], [0, 8, 8], [-8, 0], [0, -8], [False, 8], [0.0, 8.0], ["0", "8"], [None, 8], [[0], [8]]]
    ],
    *[
        (f"name {name[:20]!r}", file({name: GOOD}), NAME)
        for name in ["", "x" * 257, "a\nb", "a\0b", "\x1b[2J", "a\u202eb", "\u2028"]
    ],
]

SIZES = [
    ("shape too large", tensor(shape=[3]), "takes 12 bytes, 'data_offsets' are 0 to 8"),
    ("shape too small", tensor(shape=[1]), "takes 4 bytes, 'data_offsets' are 0 to 8"),
    ("scalar of 8 bytes", tensor(shape=[]), "takes 4 bytes, 'data_offsets' are 0 to 8"),
    ("empty with bytes", tensor(shape=[0]), "takes 0 bytes, 'data_offsets' are 0 to 8"),
    ("offsets reversed", tensor(data_offsets=[8, 0]), "'data_offsets' are 8 to 0"),
    ("wider dtype", tensor(dtype="F64"), "takes 16 bytes"),
    ("narrower dtype", tensor(dtype="I8"), "takes 2 bytes"),
    ("2**40 rows", tensor(shape=[2**40]), "takes 4398046511104 bytes"),
    ("2**62 values", tensor(shape=[2**62]), "is too large"),
    ("2**64-1 values", tensor(shape=[2**64 - 1]), "is too large"),
    ("product wraps to 2", tensor(shape=[2**63, 2, 1, 2]), "is too large"),
    ("product wraps to 0", tensor(shape=[2**32, 2**32]), "is too large"),
    ("bytes wrap to 8", tensor(shape=[2**62 + 2]), "is too large"),
    ("eight huge extents", tensor(shape=[2**64 - 1] * 8), "is too large"),
    ("empty yet too large", tensor(shape=[0, 2**62, 2**62], data_offsets=[0, 0]), "is too large"),
    ("offsets past the end", tensor(shape=[4], data_offsets=[0, 16]), "the tensors take 16 bytes, 8 follow"),
    ("offsets far away", tensor(data_offsets=[2**63, 2**63 + 8]), "a hole before tensor 'a'"),
    ("offsets at the edge", tensor(data_offsets=[2**64 - 9, 2**64 - 1]), "a hole before tensor 'a'"),
    ("empty tensor far away", tensor(shape=[0], data_offsets=[2**40, 2**40]), "a hole before tensor 'a'"),
]

COVERAGE = [
    ("hole at the start", tensors((1, 4), size=4), "a hole before tensor 't0': it begins at 1, expected 0"),
    ("hole inside", tensors((0, 2), (3, 4), size=4), "a hole before tensor 't1': it begins at 3, expected 2"),
    ("hole at the end", tensors((0, 3), size=4), "the tensors take 3 bytes, 4 follow the header"),
    ("overlap by one", tensors((0, 3), (2, 4), size=4), "an overlap before tensor 't1'"),
    ("the same bytes twice", tensors((0, 4), (0, 4), size=4), "an overlap before tensor 't1'"),
    ("one inside another", tensors((0, 4), (1, 2), size=4), "an overlap before tensor 't1'"),
    ("empty inside another", tensors((0, 4), (2, 2), size=4), "an overlap before tensor 't1'"),
    ("chain of overlaps", tensors((0, 2), (1, 3), (2, 4), size=4), "an overlap before tensor 't1'"),
    ("overlap in reverse order", tensors((2, 4), (0, 3), size=4), "an overlap before tensor 't0'"),
    ("data cut", tensors((0, 4), size=3), "the tensors take 4 bytes, 3 follow the header"),
    ("data missing", tensors((0, 4), size=0), "the tensors take 4 bytes, 0 follow the header"),
    ("a byte more", tensors((0, 4), size=5), "the tensors take 4 bytes, 5 follow the header"),
    ("a megabyte more", tensors((0, 4), size=2**20), "the tensors take 4 bytes, 1048576 follow the header"),
    ("data without tensors", file({}, b"x"), "the tensors take 0 bytes, 1 follow the header"),
    ("data with metadata only", file({"__metadata__": {}}, b"x"), "the tensors take 0 bytes, 1 follow"),
]

VALUES = [
    *[
        (f"{name} {bad} at {at}", values(name, one_bad(bad, at, code), 3), NOT_FINITE)
        for name, code in [("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8")]
        for bad in (np.nan, np.inf, -np.inf)
        for at in (0, 2)
    ],
    ("signalling NaN", values("F32", bytes.fromhex("0100807f"), 1), NOT_FINITE),
    ("negative NaN", values("F64", bytes.fromhex("ffffffffffffffff"), 1), NOT_FINITE),
    ("bool of 2", values("BOOL", b"\x00\x02", 2), "holds a byte other than 0 and 1"),
    ("bool of 255", values("BOOL", b"\xff\x01", 2), "holds a byte other than 0 and 1"),
    ("BF16", values("BF16", bytes(4), 2), "is BF16; convert it to F32 or F16"),
]  # fmt: skip

CRAFTED = [*FRAMES, *METADATA, *ENTRIES, *SIZES, *COVERAGE, *VALUES]


def test_the_pattern_itself_is_sound() -> None:
    for data in (tensor(), framed(TEXT + b"   "), tensors((0, 2), (2, 2), (2, 4), size=4), file({}, b"")):
        decode(data, source="w")
    assert decode(tensor(), source="w")["a"].tolist() == [1.0, 2.0]


def test_enough_are_crafted() -> None:
    names = [name for name, _, _ in CRAFTED]
    assert len(set(names)) == len(names) >= 140


@pytest.mark.parametrize(("data", "fragment"), [pytest.param(d, f, id=ascii(n)) for n, d, f in CRAFTED])
def test_it_is_refused_with_the_reason(data: bytes, fragment: str) -> None:
    with pytest.raises(ArtifactCorruptError, match=re.escape(fragment)) as caught:
        decode(data, source="some.safetensors")
    assert type(caught.value) is ArtifactCorruptError
    assert str(caught.value).startswith("some.safetensors: ")
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("data", "fragment"), [pytest.param(d, f, id=ascii(n)) for n, d, f in [*FRAMES, *METADATA]])
def test_its_metadata_is_refused_too(data: bytes, fragment: str) -> None:
    with pytest.raises(ArtifactCorruptError, match=re.escape(fragment)):
        decode_metadata(data, source="w")


def test_checksums_that_fit_do_not_help(forge: Callable[..., Path]) -> None:
    for name, data, fragment in CRAFTED:
        artifact = read_artifact(forge({"weights.safetensors": data}), format=ROUTER)
        with pytest.raises(ArtifactCorruptError) as caught:
            decode(artifact.files["weights.safetensors"], source=name)
        assert fragment in str(caught.value)
