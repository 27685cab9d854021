"""What the containers of a pre-flight Job run: `python -m jobs.cluster.preflight fetch|check`.

`fetch` brings the version into a folder that Triton reads; `check` asks that Triton for known images.
"""

import argparse
import os
import sys
from pathlib import Path

from export.errors import ExportError
from export.graph.triton_probe import compare_triton, require_loaded
from export.store.versions import KNOWN
from jobs.cluster.serving.preflight_job import VERSION_VARIABLE
from jobs.errors import Exit, JobError, exit_code
from jobs.known import known_evidence, known_images
from jobs.settings import load_settings

_LINK = "version"
"""Leads to the version's folder under a name that does not change, for Triton's command line."""


def main() -> int:
    """Run one step; its last line is the pod's termination message."""
    parser = argparse.ArgumentParser(prog="python -m jobs.cluster.preflight", description=__doc__)
    parser.add_argument("step", choices=("fetch", "check"))
    parser.add_argument("--folder", type=Path, required=True, help="what Triton reads")
    parser.add_argument("--triton", default="http://127.0.0.1:8000", help="its address")
    options = parser.parse_args()
    version = int(os.environ[VERSION_VARIABLE])
    try:
        if options.step == "fetch":
            store = load_settings().open_store()
            fetched = store.fetch(version, options.folder)
            if (evidence := known_evidence(store, version)) is not None:
                (options.folder / KNOWN).write_bytes(evidence)
            (options.folder / _LINK).symlink_to(fetched.name)
        else:
            require_loaded(options.triton)
            kept = options.folder / KNOWN
            known = known_images(
                options.folder / _LINK, version, known=kept.read_bytes() if kept.exists() else None
            )
            compare_triton(
                options.triton, known.probabilities, known.pixels, version, model=known.contract.model
            )
    except (JobError, ExportError) as error:
        sys.stderr.write(f"{error}\n")
        return exit_code(error) or Exit.MISTAKE
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
