"""Scorecard 15: reading N bytes allocates at most 2N + 1 MiB, refused or not."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastroute.artifact import ROUTER, read_artifact, safetensors
from fastroute.errors import ArtifactCorruptError, ArtifactError

MIB = 1 << 20
WEIGHTS = "weights.safetensors"


def load(folder: Path) -> Any:
    artifact = read_artifact(folder, format=ROUTER)
    return artifact, safetensors.decode(artifact.files[WEIGHTS], source=WEIGHTS)


def peak(folder: Path) -> int:
    """Most bytes allocated at once while a folder is loaded, typed refusals included."""
    tracemalloc.start()
    try:
        with suppress(ArtifactError):
            load(folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_bounded(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert peak(folder) <= 2 * size + MIB


def misaligned(data: bytes) -> bytes:
    header = {
        "pad": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "odd": {"dtype": "F64", "shape": [len(data) // 8], "data_offsets": [1, 1 + len(data)]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" + data


def of_bfloat16(size: int) -> bytes:
    header = {"a": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


SOUND = {
    "float32": safetensors.encode({"a": np.ones(2 * MIB, np.float32)}),
    "float16": safetensors.encode({"a": np.ones(4 * MIB, np.float16)}),
    "bool": safetensors.encode({"a": np.ones(8 * MIB, np.bool_)}),
    "int8": safetensors.encode({"a": np.ones((MIB, 8), np.int8)}),
    "at odd addresses": misaligned(bytes(8 * MIB)),
    "400 tensors": safetensors.encode({f"layer.{i}.weight": np.ones(4, np.float32) for i in range(400)}),
    "nothing": safetensors.encode({}),
}
BAD_TENSORS = {
    "bfloat16": of_bfloat16(8 * MIB),
    "NaN at the end": SOUND["float32"][:-4] + np.float32(np.nan).tobytes(),
    "a header of 2**60 bytes": (2**60).to_bytes(8, "little") + b"{}",
    "a shape of 2**40": of_bfloat16(0).replace(b"[0]", b"[1099511627776]"),
    "3,000 tensors": b"\x00\x00\x02\x00\x00\x00\x00\x00{" + b'"a":{"dtype":"F32"},' * 6000,
}
BAD_MANIFESTS = {
    "empty lists": b"[" + b"[]," * 87_000 + b"[]]",
    "few empty lists": b'{"a":[' + b"[]," * 5_000 + b"[]]}",
    "objects": b"[" + b'{"a":{}},' * 29_000 + b"{}]",
    "few objects": b'{"x":[' + b'{"a":{}},' * 900 + b"{}]}",
    "fewer objects": b'{"x":[' + b'{"a":1},' * 1_500 + b"{}]}",
    "keys": b"{" + b",".join(b'"%05d":0' % i for i in range(29_000)) + b"}",
    "few keys": b"{" + b",".join(b'"%05d":0' % i for i in range(3_700)) + b"}",
    "numbers": b"[" + b"0.5," * 60_000 + b"1]",
    "few numbers": b'{"x":[' + b"0.5," * 14_000 + b"1]}",
    "few strings": b'{"x":[' + b'"ab",' * 14_000 + b"1]}",
    "one long string": b'{"a":"' + b"x" * 262_000 + b'"}',
    "one wide string": b'{"a":"' + b"x" * 100_000 + '😀"}'.encode(),
    "one too wide string": b'{"a":"' + b"x" * 262_000 + '😀"}'.encode(),
    "escapes": b'{"a":"' + b"\\u00e4" * 18_000 + b'"}',
    "escaped quotes": b'{"a":"' + b'\\"' * 131_000 + b'"}',
    "brackets in a string": b'{"a":"' + b"[{" * 4_000 + b'"}',
    "deep": b"[" * 9_000,
    "spaces": b"{" + b" " * 262_000 + b"}",
}


# What the reader still parses must fit the bound too: as many of each as it accepts.
MANY = {
    "empty lists": lambda count: [[]] * count,
    "lists of one": lambda count: [[0.5]] * count,
    "lists in lists": lambda count: [[[[[]]]]] * count,
    "empty objects": lambda count: [{}] * count,
    "objects of one": lambda count: [{"": 0.5}] * count,
    "objects of many": lambda count: [dict.fromkeys("abcdefghij", 0.5)] * count,
    "members": lambda count: {f"{index:x}": 0.5 for index in range(count)},
    "members with objects": lambda count: {f"{index:x}": {"": ""} for index in range(count)},
    "numbers": lambda count: [0.5] * count,
    "integers": lambda count: [1234] * count,
    "strings": lambda count: ["ab"] * count,
    "one string": lambda count: "x" * count,
    "one wide string": lambda count: "x" * count + "\U0001f600",
    "wide strings": lambda count: ["\U0001f600"] * count,
}


def most_accepted(accepted: Callable[[int], bool]) -> int:
    low, high = 1, 300_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    return low


@pytest.mark.parametrize("name", MANY)
def test_the_largest_manifest_that_is_accepted(tmp_path: Path, forge: Callable[..., Path], name: str) -> None:
    def accepted(count: int) -> bool:
        try:
            read_artifact(forge({WEIGHTS: SOUND["nothing"]}, x=MANY[name](count)), format=ROUTER)
        except ArtifactCorruptError:
            return False
        return True

    count = most_accepted(accepted)
    assert count > 1_000 or name in ("objects of many",)
    folder = forge({WEIGHTS: SOUND["nothing"]}, x=MANY[name](count))
    assert read_artifact(folder, format=ROUTER).manifest["x"] == MANY[name](count)
    assert_bounded(folder)


@pytest.mark.parametrize("name", SOUND)
def test_sound_artifacts(forge: Callable[..., Path], name: str) -> None:
    folder = forge({WEIGHTS: SOUND[name]})
    load(folder)
    assert_bounded(folder)


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_are_refused(forge: Callable[..., Path], name: str) -> None:
    folder = forge({WEIGHTS: BAD_TENSORS[name]})
    with pytest.raises(ArtifactCorruptError):
        load(folder)
    assert_bounded(folder)


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_manifests_that_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "router.json").write_bytes(BAD_MANIFESTS[name])
    with pytest.raises(ArtifactCorruptError):
        load(tmp_path)
    assert_bounded(tmp_path)


def test_a_size_that_is_a_lie_allocates_nothing(forge: Callable[..., Path]) -> None:
    listed = {WEIGHTS: {"size": 2**31, "sha256": "0" * 63 + "1"}}
    folder = forge({WEIGHTS: b"small"}, files=listed)
    assert peak(folder) < MIB


def test_a_file_that_is_larger_than_listed_is_not_read(forge: Callable[..., Path]) -> None:
    folder = forge({WEIGHTS: b"small"})
    with (folder / WEIGHTS).open("r+b") as stream:
        stream.truncate(3 << 30)
    assert peak(folder) < MIB


def test_a_huge_manifest_is_not_read(router_folder: Path) -> None:
    with (router_folder / "router.json").open("r+b") as stream:
        stream.truncate(3 << 30)
    assert peak(router_folder) < MIB
