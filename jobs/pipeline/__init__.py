"""The steps that make a version: train, export, publish, register; retrain runs them all, then tidies up."""
