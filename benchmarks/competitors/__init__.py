"""What a user would pick instead, each as a small program tuned as well as we could; benchmarks.serving
starts them.

All of them decode with the product's own `model.decode`, so that the comparison is about serving, and every
answer can be held against the same numbers. Only the original service keeps its own way with an image.
"""
