"""Encoders: text to vector."""

from __future__ import annotations

from fastroute.encoders.loading import load_encoder
from fastroute.encoders.onnx import OnnxEncoder
from fastroute.encoders.openai import OpenAIEncoder
from fastroute.encoders.protocol import Encoder
from fastroute.encoders.static import StaticEncoder

__all__ = ["Encoder", "OnnxEncoder", "OpenAIEncoder", "StaticEncoder", "load_encoder"]
