"""From PyTorch to ONNX: graphs that `fastroute.onnx` runs, checked against the models they were made of.

Needs ``pip install 'fastroute[train-bert]'``. Nothing here loads `torch`, `transformers` or `onnx` before a function
is called; a router that was exported needs none of them.
"""
