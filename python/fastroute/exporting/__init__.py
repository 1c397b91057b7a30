"""From PyTorch to ONNX: graphs that `fastroute.onnx` runs, checked against the models they were made of.

Needs ``pip install 'fastroute[train-bert]'``, or ``'fastroute[train-llm]'`` for decoders. Nothing here loads `torch`,
`transformers` or `onnx` before a function is called; a router that was exported needs none of them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PRECISIONS"]

PRECISIONS: Final = ("int8", "fp32", "fp16")
"""Of a graph: for processors, for both, for GPUs."""
