"""Everything that knows of Kubernetes: Jobs, the InferenceService, and what their pods run.

The transformer imports `jobs.cluster.launch`, so this file stays empty of imports.
"""
