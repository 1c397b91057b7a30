"""The artifacts that ship with the package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["encoders", "find_encoder", "find_router", "routers"]

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
