"""One's own pictures: found, decoded once, kept in a cache, and made into a data set."""
