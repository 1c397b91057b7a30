"""Text through ONNX Runtime: graphs read as hostile, sessions, tokenizers, batches bounded by tokens.

`fastroute.onnx.model` brings them together. Nothing here loads `onnxruntime` or `tokenizers` before a model is made;
and since every router is imported with `fastroute.routers`, they import most of this where they need it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GRAPH_FILE", "LABELS_FILE", "TOKENIZER_FILE"]

GRAPH_FILE: Final = "model.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
LABELS_FILE: Final = "labels.safetensors"
