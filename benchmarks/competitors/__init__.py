"""What a user would pick instead, each as a small program; benchmarks.serving and .peers start them.

All but `fastapi_plain` and `original` decode with the product's own `model.images.decode`, so that the
comparison is about serving; those that share `model` by another decoder where they are told so. Every answer
is held against the same numbers.
"""
