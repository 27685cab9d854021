"""Training, measured: the original recipe against ours, side by side, and where a step's time goes."""
