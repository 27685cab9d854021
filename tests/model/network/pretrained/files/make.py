"""Makes legacy.pth and zip.pth in a torch of any release, 1.6 or later; see ../../lite/make.py for one."""

from collections import OrderedDict
from pathlib import Path

import torch


def main() -> None:
    """Save the same tensors in both layouts: views of one row of numbers, several types, an empty one."""
    row = torch.arange(12, dtype=torch.float32)
    tensors = OrderedDict(
        {
            "matrix": row[:6].view(2, 3),
            "transposed": row[6:].view(2, 3).t(),
            "number": torch.tensor(1 << 40),
            "half": torch.tensor([0.5, -2], dtype=torch.half),
            "double": torch.tensor([1 / 3], dtype=torch.double),
            "empty": torch.zeros(0, 4),
        }
    )
    tensors._metadata = {"": {"version": 1}}  # as a network's state_dict has it
    for name, zipped in (("legacy", False), ("zip", True)):
        path = Path(__file__).with_name(f"{name}.pth")
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    print(f"by torch {torch.__version__}")


if __name__ == "__main__":
    main()
