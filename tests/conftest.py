"""Fixtures that every suite shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reference.tiny_artifacts import random_weights, write_encoder, write_router

from fastroute.encoders import load_encoder

# ONNX Runtime sends telemetry unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def signals_at_their_default() -> Iterator[None]:
    """Undo what ``nohup`` or a shell's ``&`` did: the processes that tests signal inherit ignored signals."""
    ignored = [s for s in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Root of the source checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def data_pack() -> Path:
    """Folder of the data pack, which lies beside the checkout and is never part of it."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the data pack (../shared/data) is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifact of a static encoder: 60 tokens, 16 dimensions."""
    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    write_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_router_folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path) -> Path:
    """Artifact of a matrix-factorization router of four models with random weights; holds the tiny encoder."""
    folder = tmp_path_factory.mktemp("routers") / "tiny"
    write_router(folder, random_weights(16), encoder=load_encoder(tiny_encoder_folder))
    return folder
