"""One request's images: decoded, batched, answered."""
