"""Whether a version is good enough to serve: the judging, its rules, and the verdict beside the version."""
