"""From a trained model to an artifact in the store."""
