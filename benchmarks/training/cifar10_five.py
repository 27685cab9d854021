"""`python -m benchmarks.training.cifar10_five`: CIFAR-10's five classes, enlarged, by EfficientNet-Lite.

The images of 32 pixels become as large as the network's input, as a picture of one's own would. Training,
validation and test split are those of the small network. A killed run goes on where it was.
"""

import os

from benchmarks.training.seeded import parser, run
from benchmarks.training.seeds import STATE
from model.contract import LITE_SIZES
from model.data.sources import load_dataset
from model.training.enlarged import enlarged


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = parser(__doc__, LITE_SIZES[0])
    flags.add_argument(
        "--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3:// address"
    )
    flags.set_defaults(network="efficientnet-lite0", state=STATE)
    arguments = flags.parse_args()
    run(
        enlarged(load_dataset(arguments.data, allow_sample=False), arguments.size),
        arguments,
        name="cifar10-five",
        title="CIFAR-10's five classes, enlarged",
        command="python -m benchmarks.training.cifar10_five",
    )


if __name__ == "__main__":
    main()
