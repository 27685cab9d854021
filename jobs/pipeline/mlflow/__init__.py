"""MLflow as people use it beside the store: runs, registered versions, the alias of what is served."""
