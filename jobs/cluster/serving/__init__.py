"""The InferenceService: its template, a trial of a version before, its rollout."""
