"""Class ids: what was changed, and the lists that follow from it."""
