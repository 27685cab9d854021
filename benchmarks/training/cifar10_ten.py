"""`python -m benchmarks.training.cifar10_ten FOLDER`: the quick recipe on all ten classes of CIFAR-10.

FOLDER has `train/<class>/` and `test/<class>/` with a file a picture, as one's own pictures lie. Its given
test split judges; validation pictures are held out of the training ones.
"""

from benchmarks.training.seeded import parser, run
from model.contract import IMAGE_SIZE
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = parser(__doc__, IMAGE_SIZE)
    flags.add_argument("folder")
    arguments = flags.parse_args()
    run(
        load_dataset(arguments.folder, allow_sample=False, wishes=Wishes(size=arguments.size)),
        arguments,
        name="cifar10-ten",
        title="CIFAR-10, all ten classes",
        command="python -m benchmarks.training.cifar10_ten FOLDER",
    )


if __name__ == "__main__":
    main()
