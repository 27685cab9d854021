"""The embedded Triton's `onnxruntime` backend: its stub runs `model.py`, nothing of ours imports it."""
