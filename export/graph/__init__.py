"""From a trained network to the graphs that Triton serves."""
