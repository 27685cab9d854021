"""The KServe transformer: decodes images, batches them, asks Triton."""
