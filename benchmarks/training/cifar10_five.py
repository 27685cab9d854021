"""`python -m benchmarks.training.cifar10_five`: CIFAR-10's five classes, enlarged, by EfficientNet-Lite.

The images of 32 pixels become as large as the network's input, as a picture of one's own would. Training,
validation and test split are those of the small network. A killed run goes on where it was.

With `--teach` the first seed also answers the training images: `python -m benchmarks.training.seeds
--recipe distilled` finds what it says in the same state folder.
"""

import os
from typing import Final

from benchmarks.training.seeded import parser, recipe_of, run, run_folder
from benchmarks.training.seeds import STATE, TEACHERS
from model.contract import LITE_SIZES
from model.data.sources import load_dataset
from model.training.enlarged import enlarged
from model.training.runs import load_run
from model.training.teacher import Lesson

_NAME: Final = "cifar10-five"


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = parser(__doc__, LITE_SIZES[0])
    flags.add_argument(
        "--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3:// address"
    )
    flags.add_argument("--teach", action="store_true", help="keep the first seed's answers for students")
    flags.set_defaults(network="efficientnet-lite0", state=STATE)
    arguments = flags.parse_args()
    small = load_dataset(arguments.data, allow_sample=False)
    large = enlarged(small, arguments.size)
    run(
        large,
        arguments,
        name=_NAME,
        title="CIFAR-10's five classes, enlarged",
        command="python -m benchmarks.training.cifar10_five",
    )
    if arguments.teach:
        recipe = recipe_of(large, arguments)
        taught = load_run(run_folder(arguments.state, _NAME, large, recipe, arguments.seeds[0]))
        Lesson(small, recipe, arguments.state / TEACHERS).ask(taught.network(), taught.history)


if __name__ == "__main__":
    main()
