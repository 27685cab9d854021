"""What a GPU makes of training and of the exported graph: `python -m benchmarks.gpu`."""
