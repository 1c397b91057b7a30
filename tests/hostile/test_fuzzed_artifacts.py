"""Scorecard 14, third part: mutations by chance. Typed errors or sound arrays, nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fastroute.artifact import ROUTER, read_artifact
from fastroute.artifact.safetensors import decode, decode_metadata
from fastroute.errors import ArtifactError

TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"true",
        b"-1",
        b"1e999",
    ),
    *(
        b"NaN",
        b"18446744073709551615",
        b"9" * 400,
        b"[" * 40,
        b'"shape"',
        b'"dtype"',
        b'"data_offsets"',
        b"F64",
    ),
    *(b"BOOL", b"BF16", b"I8", b"__metadata__", b"\0", b"\xff\xff\xff\xff", b"\xed\xa0\x80", b"\n", b"    "),
]
JSON_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 63, 2**31, 2**63, 2**64, 1.5, 1e308, "", "a", "..", "a/b", "\0", "F32"),
    *([], [0], [[]], {}, {"a": 1}, [2**40], [0, 0], "0" * 64, "\ud800", "😀", [0, 2**64 - 1], [1] * 9),
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(copy) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(copy):
            copy[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(copy):
            copy[at] = rng.randrange(256)
        elif kind == 2:
            del copy[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            copy[at:at] = rng.choice(TOKENS)
        elif kind == 4:
            token = rng.choice(TOKENS)
            copy[at : at + len(token)] = token
        else:
            begin = rng.randrange(len(copy) + 1)
            copy[at:at] = copy[begin : begin + rng.randrange(32)]
    return bytes(copy)


def mutated_value(value: Any, rng: random.Random) -> Any:
    """JSON with one value somewhere inside replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        copy = dict(value)
        key = rng.choice(list(copy))
        if rng.random() < 0.1:
            copy[str(rng.choice(JSON_VALUES))] = copy.pop(key)
        else:
            copy[key] = mutated_value(copy[key], rng)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], mutated_value(value[at], rng), *value[at + 1 :]]
    return rng.choice(JSON_VALUES)


def framed(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def outcome(data: bytes) -> str:
    """Why a safetensors file is refused; empty where it is accepted, and then its arrays are sound."""
    try:
        arrays = decode(data, source="w")
        decode_metadata(data, source="w")
    except ArtifactError as error:
        return str(error)
    for array in arrays.values():
        assert array.nbytes <= len(data)
        assert np.isfinite(array).all()
        assert array.sum() is not None  # touches every byte
        assert not array.flags.writeable
    return ""


def test_5_000_mutated_tensor_files(weights: bytes) -> None:
    rng = random.Random(101)
    results = [outcome(mutated(weights, rng)) for _ in range(5_000)]
    assert results.count("") > 100, "the mutations are too rough to reach the data"
    assert len(set(results)) > 500


def test_5_000_mutated_headers(weights: bytes) -> None:
    rng = random.Random(102)
    length = int.from_bytes(weights[:8], "little")
    header, data = json.loads(weights[8 : 8 + length]), weights[8 + length :]
    results = [outcome(framed(mutated_value(header, rng), data)) for _ in range(5_000)]
    assert results.count("") > 100
    assert len(set(results)) > 100


def overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b", buffering=0) as stream:
        stream.write(data)
        stream.truncate()


def test_2_500_mutated_folders(router_folder: Path) -> None:
    rng = random.Random(103)
    sound = {path.name: path.read_bytes() for path in router_folder.iterdir()}
    for _ in range(2_500):
        name = rng.choice(list(sound))
        data = mutated(sound[name], rng)
        overwrite(router_folder / name, data)
        try:
            read_artifact(router_folder, format=ROUTER)
        except ArtifactError:
            pass
        else:
            assert data == sound[name], "an altered file went unnoticed"
        overwrite(router_folder / name, sound[name])


def test_2_500_mutated_manifests_with_the_right_seal(forge: Callable[..., Path], weights: bytes) -> None:
    rng = random.Random(104)
    files = {"weights.safetensors": weights, "note.txt": b"note"}
    folder = forge(files, models=["a", "b"], nested={"x": [1, {"y": 2.5}]})
    sound = json.loads((folder / "router.json").read_bytes())
    accepted = 0
    for _ in range(2_500):
        values = mutated_value(sound, rng)
        if not isinstance(values, dict):
            continue
        values.pop("sha256", None)
        forge({}, **{"files": None, **values})
        with suppress(ArtifactError):
            accepted += bool(read_artifact(folder, format=ROUTER))
    assert 100 < accepted < 2_000
