"""The artifacts that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["DEFAULT_ENCODER", "STRONG", "WEAK", "encoders", "find_encoder", "find_router", "routers"]

DEFAULT_ENCODER: Final = "static-minilm-l6"
# The pair of RouteLLM's paper, which everything that takes a pair starts from.
STRONG: Final = "gpt-4-1106-preview"
WEAK: Final = "mixtral-8x7b-instruct-v0.1"

_ASSETS = Path(__file__).parent / "assets"


def routers() -> tuple[str, ...]:
    """Names of the built-in routers."""
    return _names(_ASSETS / "routers")


def encoders() -> tuple[str, ...]:
    """Names of the built-in encoders."""
    return _names(_ASSETS / "encoders")


def find_router(name: str) -> Path | None:
    """Folder of a built-in router, or None."""
    return _ASSETS / "routers" / name if name in routers() else None


def find_encoder(name: str) -> Path | None:
    """Folder of a built-in encoder, or None."""
    return _ASSETS / "encoders" / name if name in encoders() else None


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir())) if folder.is_dir() else ()
