"""What is served is what inference.proto says, and that is what clients of Triton and KServe speak."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from descriptors import lines
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode, aio
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_pb
from over_grpc import SERVICE, OverGrpc, request

from image_transformer.grpc import inference_pb2 as pb

SOURCES = Path(pb.__file__).parents[2]
ROOT = SOURCES.parent

# In kserve's SDK the model's name is field 1 of these, in Triton's 2; all of them are refused.
REFUSED = ("RepositoryModelLoad", "RepositoryModelUnload")
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CHANGED_TRACE, CHANGED_LOG = pb.TraceSettingRequest(), pb.LogSettingsRequest()
CHANGED_TRACE.settings["trace_level"].value.append("TIMESTAMPS")
CHANGED_LOG.settings["log_verbose_level"].uint32_param = 1


def test_every_field_is_the_one_that_tritons_client_knows() -> None:
    command = [sys.executable, ROOT / "tests" / "descriptors.py", "tritonclient.grpc.model_config_pb2"]
    done = subprocess.run(
        [*command, "tritonclient.grpc.service_pb2"], capture_output=True, check=True, timeout=120
    )
    ours, tritons = lines(pb.DESCRIPTOR), json.loads(done.stdout)
    assert {name: line for name, line in ours.items() if tritons.get(name) != line} == {}
    methods = {name for name in tritons if name.startswith("inference.GRPCInferenceService.")}
    assert methods <= ours.keys(), "a method of Triton's is not served"
    # Of configuration and statistics there is what is filled in; of all else every field.
    partial = ("inference.Model", "inference.Batch", "inference.InferResponseStatistics", "inference.Memory")
    assert [name for name in tritons if name not in ours and not name.startswith(partial)] == []


def test_every_field_is_the_one_that_kserves_client_knows() -> None:
    ours, kserves = lines(pb.DESCRIPTOR), lines(kserve_pb.DESCRIPTOR)
    differing = {name for name, line in kserves.items() if ours.get(name) != line}
    messages = {name.split(".")[1].removesuffix("Request").removesuffix("Response") for name in differing}
    assert messages == {*REFUSED}


def test_the_messages_are_those_of_the_proto(tmp_path: Path) -> None:
    """`make proto` made them, and nobody changed them since."""
    name = "image_transformer/grpc/inference"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}", f"--python_out={tmp_path}"]
    subprocess.run([*command, f"--pyi_out={tmp_path}", f"{name}.proto"], check=True, timeout=120)
    made = (tmp_path / f"{name}_pb2.py").read_text()
    made = made.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")
    assert (SOURCES / f"{name}_pb2.py").read_text() == made
    assert (SOURCES / f"{name}_pb2.pyi").read_text() == (tmp_path / f"{name}_pb2.pyi").read_text()


async def test_reflection_describes_what_is_served(over_grpc: OverGrpc) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(over_grpc.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE.full_name),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.Nothing"),
    ]
    services, ours, health, nothing = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert [one.name for one in services.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]
    (file,) = ours.file_descriptor_response.file_descriptor_proto
    described = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(described)
    assert descriptor_pb2.FileDescriptorProto.FromString(file) == described
    assert b"grpc.health.v1" in health.file_descriptor_response.file_descriptor_proto[0]
    assert nothing.error_response.error_code == 5  # NOT_FOUND


async def test_management_is_what_rest_answers(over_grpc: OverGrpc, jpegs: list[bytes]) -> None:
    """One source for both; protobuf leaves out what is 0 or empty."""
    model = "cnn-image"
    service = over_grpc.service
    rest = (await service.call("GET", f"/v2/models/{model}/config")).json()
    answer = await over_grpc.method("ModelConfig")(pb.ModelConfigRequest(name=model))
    config = MessageToDict(answer.config, preserving_proto_field_name=True)
    assert config["input"][0]["data_type"] == rest["input"][0]["data_type"] == "TYPE_STRING"
    assert config["max_batch_size"] == rest["max_batch_size"] == service.settings.max_images
    assert [int(size) for size in config["output"][0]["dims"]] == rest["output"][0]["dims"]
    assert config["parameters"] == rest["parameters"]
    await over_grpc.method("ModelInfer")(request(jpegs[0]))
    rest = (await service.call("GET", f"/v2/models/{model}/stats")).json()
    answer = await over_grpc.method("ModelStatistics")(pb.ModelStatisticsRequest(name=model))
    (counted,), (told,) = rest["model_stats"], answer.model_stats
    assert told.inference_count == counted["inference_count"] == 1
    assert told.last_inference == counted["last_inference"] > 0
    assert told.inference_stats.success.ns == counted["inference_stats"]["success"]["ns"] > 0
    assert [batch.batch_size for batch in told.batch_stats] == [1]
    rest = (await service.call("POST", "/v2/repository/index")).json()
    index = await over_grpc.method("RepositoryIndex")(pb.RepositoryIndexRequest(ready=True))
    assert [MessageToDict(row) for row in index.models] == rest


@pytest.mark.parametrize(
    ("method", "message", "code", "status"),
    [
        ("ModelConfig", pb.ModelConfigRequest(name="other"), "unknown_model", "NOT_FOUND"),
        ("ModelConfig", pb.ModelConfigRequest(name="cnn-image", version="6"), "unknown_version", "NOT_FOUND"),
        ("ModelStatistics", pb.ModelStatisticsRequest(name="other"), "unknown_model", "NOT_FOUND"),
        ("TraceSetting", pb.TraceSettingRequest(model_name="other"), "unknown_model", "NOT_FOUND"),
        ("TraceSetting", CHANGED_TRACE, "not_offered", "UNIMPLEMENTED"),
        ("LogSettings", CHANGED_LOG, "not_offered", "UNIMPLEMENTED"),
        (
            "RepositoryModelLoad",
            pb.RepositoryModelLoadRequest(model_name="x"),
            "not_offered",
            "UNIMPLEMENTED",
        ),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(), "not_offered", "UNIMPLEMENTED"),
        (
            "SystemSharedMemoryRegister",
            pb.SystemSharedMemoryRegisterRequest(),
            "not_offered",
            "UNIMPLEMENTED",
        ),
        ("CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(), "not_offered", "UNIMPLEMENTED"),
    ],
)
async def test_what_is_not_there_or_not_offered_says_so(
    over_grpc: OverGrpc, method: str, message: Any, code: str, status: str
) -> None:
    with pytest.raises(aio.AioRpcError) as raised:
        await over_grpc.method(method)(message)
    assert raised.value.code() is StatusCode[status]
    told = dict(raised.value.trailing_metadata())
    assert told["code"] == code
    assert told["x-request-id"]


@pytest.mark.parametrize(
    "method",
    [
        *("TraceSetting", "LogSettings", "SystemSharedMemoryStatus", "CudaSharedMemoryStatus"),
        *("SystemSharedMemoryUnregister", "CudaSharedMemoryUnregister"),
    ],
)
async def test_how_what_is_not_offered_stands_is_empty(over_grpc: OverGrpc, method: str) -> None:
    assert MessageToDict(await over_grpc.method(method)(b"")) == {}


async def test_no_method_reads_what_is_no_message_or_would_grow(
    over_grpc: OverGrpc, small_limit: int
) -> None:
    """Of the stream's messages test_stream.py has more."""
    grows = b"\xf8\x3e\0" * (small_limit // 15)
    paths = [f"/{SERVICE.full_name}/{name}" for name, method in SERVICE.methods_by_name.items()]
    for path in [*paths, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", REFLECTION]:
        for message, code in ((b"\xff\xff\xff", "invalid_request"), (grows, "too_many_bytes")):
            if path.endswith("/ModelStreamInfer"):
                (answer,) = [one async for one in over_grpc.method("ModelStreamInfer")(iter([message]))]
                assert answer.infer_response.parameters["code"].string_param == code
                continue
            with pytest.raises(aio.AioRpcError) as raised:
                async for _ in over_grpc.channel.stream_stream(path)(iter([message])):
                    pass
            assert raised.value.code() is StatusCode.INVALID_ARGUMENT, path
            assert dict(raised.value.trailing_metadata())["code"] == code, path


async def test_a_mistake_of_ours_is_told_without_its_inside(
    over_grpc: OverGrpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(over_grpc.service.inference.catalogue, "index", broken)
    with pytest.raises(aio.AioRpcError) as raised:
        await over_grpc.method("RepositoryIndex")(b"")
    assert raised.value.code() is StatusCode.INTERNAL
    assert "secret" not in raised.value.details()
