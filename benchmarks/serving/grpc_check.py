"""The checking client beside h2load: `python -m benchmarks.serving.grpc_check ADDRESS FOLDER SECONDS`.

It sends the prepared message over and over on a connection of its own, at a pace that takes little from the
server under load, and fails at the first answer that is not ONNX Runtime's.
"""

import sys
import time
from pathlib import Path

import grpc
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferResponse

from benchmarks.serving.load import GRPC_PATH

PAUSE_SECONDS = 0.05


def main() -> None:
    """Checks until the time is over."""
    address, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    message = (folder / "message.bin").read_bytes()
    expected = np.frombuffer((folder / "expected.bin").read_bytes(), "<f4")
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(GRPC_PATH, response_deserializer=ModelInferResponse.FromString)
        grpc.channel_ready_future(channel).result(10)
        print("ready", flush=True)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = call(message, timeout=60)
            if answer.raw_output_contents:
                got = np.frombuffer(answer.raw_output_contents[0], "<f4")
            else:
                got = np.asarray(answer.outputs[0].contents.fp32_contents, np.float32)
            if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=1e-4):
                sys.exit(f"expected {expected.tolist()}, got {got.tolist()}")
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
