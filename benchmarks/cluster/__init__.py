"""The installed product on a Kubernetes beside a stock KServe transformer: `python -m benchmarks.cluster`."""
