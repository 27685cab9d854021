"""kserve's view of the model: what its own routes and its gRPC service ask."""
