"""Text through ONNX Runtime: graphs read as hostile, sessions, tokenizers, batches bounded by tokens.

Nothing here loads `onnxruntime` or `tokenizers` before a model is made.
"""

from __future__ import annotations

from fastroute.onnx.graph import GRAPH_FILE, GraphFacts, check_graph
from fastroute.onnx.model import TextModel
from fastroute.onnx.tokenizer import TOKENIZER_FILE

__all__ = ["GRAPH_FILE", "TOKENIZER_FILE", "GraphFacts", "TextModel", "check_graph"]
