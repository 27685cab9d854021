"""The page at `/` for browsers: files and what hands them out; nothing of it is on an image's way."""
