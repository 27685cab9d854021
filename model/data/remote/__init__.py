"""Ways to other machines: HTTP, S3, and the proxies between."""
