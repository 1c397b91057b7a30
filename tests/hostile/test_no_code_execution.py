"""Scorecard 16: pickles in every wrapping, where a reader expects weights or a manifest. Nothing runs."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import marshal
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastroute.artifact import safetensors

# The process under audit: good artifact first (imports run code), then one bad folder after another, then a
# real pickle, to show that the hook would have seen it.
AUDITED = """
import io, json, pickle, sys
from pathlib import Path
from fastroute.artifact import ROUTER, read_artifact, safetensors
from fastroute.errors import ArtifactError

WATCHED = ("exec", "compile", "import", "code.__new__", "marshal.", "pickle.", "subprocess.", "os.exec",
           "os.system", "os.fork", "os.posix_spawn", "os.spawn", "ctypes.", "socket.", "cpython.run", "open")
events = []
armed = False

def watch(event, arguments):
    if armed and event.startswith(WATCHED):
        events.append([event, str(arguments[0]) if arguments else ""])

def load(folder):
    try:
        artifact = read_artifact(folder, format=ROUTER)
        safetensors.decode(artifact.files["weights.safetensors"], source="w")
        safetensors.decode_metadata(artifact.files["weights.safetensors"], source="w")
    except ArtifactError as error:
        return type(error).__name__
    return "loaded"

good, *bad = sorted(Path(sys.argv[1]).iterdir())
assert load(good) == "loaded"
sys.addaudithook(watch)
results = {}
for folder in bad:
    events.clear()
    armed = True
    outcome = load(folder)
    armed = False
    results[folder.name] = [outcome, list(events)]
events.clear()
armed = True
pickle.loads(Path(sys.argv[2]).read_bytes())
armed = False
print(json.dumps({"results": results, "control": [event for event, _ in events]}))
"""


class Bomb:
    """Unpickling it runs a command that leaves a file behind."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def refused_payloads(canary: Path) -> dict[str, bytes]:
    bomb = Bomb(canary)
    pickles = {f"pickle-{protocol}": pickle.dumps(bomb, protocol) for protocol in range(6)}
    one = pickles["pickle-2"]
    objects = np.array([bomb], dtype=object)
    text = base64.b64encode(one).decode()
    odd_dtype = {"a": {"dtype": text, "shape": [], "data_offsets": [0, 0]}}
    source = f"import os\nos.system('touch {canary}')\n"
    return {
        **pickles,
        **{f"array-pickle-{p}": pickle.dumps(objects, p) for p in range(6)},
        "torch-zip": zipped({"archive/data.pkl": one, "archive/version": b"3\n", "archive/data/0": bytes(8)}),
        "torch-legacy": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + one,
        "torchscript": zipped({"m/code/__torch__.py": source.encode(), "m/constants.pkl": one}),
        "npy-objects": saved(objects),
        "npz-objects": zipped({"arr_0.npy": saved(objects)}),
        "joblib-zlib": zlib.compress(one),
        "joblib-gzip": gzip.compress(one),
        "joblib-bz2": bz2.compress(one),
        "joblib-lzma": lzma.compress(one),
        "joblib-old": b"ZF" + hex(len(one)).encode().ljust(19) + zlib.compress(one),
        "tar": tarred("weights.pkl", one),
        "pyc": b"\xa7\r\r\n" + bytes(12) + marshal.dumps(compile(source, "w", "exec")),
        "marshal": marshal.dumps(compile(source, "w", "exec")),
        "python": source.encode(),
        "python-zip": zipped({"__main__.py": source.encode()}),
        "shell": f"#!/bin/sh\ntouch {canary}\n".encode(),
        "yaml": f"!!python/object/apply:os.system ['touch {canary}']\n".encode(),
        "jsonpickle": json.dumps({"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["id"]}]}).encode(),
        "json-of-pickle": json.dumps({"format": "pickle", "data": text}).encode(),
        "header-is-pickle": framed(one),
        "header-is-python": framed(b"{'a': __import__('os').system('id')}"),
        "dtype-is-pickle": framed(json.dumps(odd_dtype).encode()),
        "dtype-is-object": framed(
            json.dumps({"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}).encode(), bytes(8)
        ),
        "pickle-after-the-data": safetensors.encode({"a": np.ones(3)}) + one,
        "pickle-before-the-length": one + safetensors.encode({"a": np.ones(3)}),
    }  # fmt: skip


def harmless_payloads(canary: Path) -> dict[str, bytes]:
    """Sound files that carry a pickle as plain bytes or text: they load, and it stays bytes."""
    one = pickle.dumps(Bomb(canary))
    text = base64.b64encode(one).decode()
    return {
        "tensor-of-pickle": safetensors.encode({"a": np.frombuffer(one, np.uint8)}),
        "metadata-of-pickle": safetensors.encode({"a": np.ones(3)}, {"__reduce__": text}),
        "name-of-pickle": safetensors.encode({text[:200]: np.ones(3)}),
        "name-of-code": safetensors.encode({"__import__('os').system('id')": np.ones(3)}),
    }


@pytest.fixture
def audited(tmp_path: Path, weights: bytes, forge: Callable[..., Path]) -> tuple[dict[str, list[Any]], list[str], Path]:
    """Outcome and events per folder, the events of a real pickle, and the file that a bomb leaves."""
    canary, folders = tmp_path / "canary", tmp_path / "folders"
    folders.mkdir()
    forge({"weights.safetensors": weights}).rename(folders / "0-good")
    for name, data in {**refused_payloads(canary), **harmless_payloads(canary)}.items():
        forge({"weights.safetensors": data}).rename(folders / f"weights-{name}")
    for name, data in refused_payloads(canary).items():
        folder = forge({"weights.safetensors": weights})
        (folder / "router.json").write_bytes(data)
        folder.rename(folders / f"manifest-{name}")
    (tmp_path / "control").write_bytes(pickle.dumps(Bomb(tmp_path / "control-canary")))
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(folders), str(tmp_path / "control")],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    return report["results"], report["control"], canary


def test_nothing_runs_and_nothing_else_is_opened(
    audited: tuple[dict[str, list[Any]], list[str], Path],
) -> None:
    results, control, canary = audited
    assert {"pickle.find_class", "os.system"} <= set(control), "the audit hook sees nothing"
    assert (canary.parent / "control-canary").exists()
    assert len(results) >= 70
    opened = {"router.json", "weights.safetensors"}
    for name, (outcome, events) in results.items():
        harmless = name.removeprefix("weights-") in harmless_payloads(canary)
        assert outcome == ("loaded" if harmless else "ArtifactCorruptError"), name
        foreign = [event for event in events if event[0] != "open" or Path(event[1]).name not in opened | {name}]
        assert not foreign, name
    assert not canary.exists()
