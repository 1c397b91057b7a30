"""Fixtures that every suite shares."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


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
