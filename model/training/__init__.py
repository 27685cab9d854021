"""From images to a trained network on disk."""
