"""The gRPC server with a client of its own messages, for tests in one process."""

import socket
from dataclasses import dataclass
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from image_transformer.grpc import inference_pb2 as pb
from image_transformer.grpc.ending import Ending
from image_transformer.grpc.server import GrpcServer

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


async def serve(server: GrpcServer) -> int:
    """Starts a server on a port of its own, and returns that."""
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start(listener)
    port: int = listener.getsockname()[1]
    return port


def method(channel: aio.Channel, name: str) -> Any:
    """A method of the service, as a stub has it."""
    described = SERVICE.methods_by_name[name]
    call = channel.stream_stream if described.client_streaming else channel.unary_unary
    return call(
        f"/{SERVICE.full_name}/{name}",
        # A test may send bytes that are no message.
        request_serializer=lambda message: (
            message if isinstance(message, bytes) else message.SerializeToString()
        ),
        response_deserializer=GetMessageClass(described.output_type).FromString,
    )


def request(image: bytes, identity: str = "", **changes: Any) -> pb.ModelInferRequest:
    """One encoded image."""
    made = pb.ModelInferRequest(model_name="cnn-image", id=identity)
    tensor = made.inputs.add(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(image)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@dataclass
class OverGrpc:
    """A gRPC server and what stands behind it."""

    service: Any
    ending: Ending
    server: GrpcServer
    channel: aio.Channel

    def method(self, name: str) -> Any:
        return method(self.channel, name)
