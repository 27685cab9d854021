"""A training in MLflow."""
