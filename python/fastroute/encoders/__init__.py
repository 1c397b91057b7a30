"""Encoders: text to vector."""

from __future__ import annotations

from fastroute.encoders.protocol import Encoder
from fastroute.encoders.static import StaticEncoder, load_encoder

__all__ = ["Encoder", "StaticEncoder", "load_encoder"]
