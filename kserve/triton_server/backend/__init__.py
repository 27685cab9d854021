"""The embedded Triton's `onnxruntime` backend: its Python stub runs `model.py`, nothing of ours imports it."""
