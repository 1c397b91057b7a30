"""From torch to ONNX: local checkpoints as the folders that `fastroute.onnx` reads. Scoring never imports it."""
