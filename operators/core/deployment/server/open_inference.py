"""The messages of the Open Inference Protocol's gRPC service, in a descriptor pool of their own.

A client's library brings the same names in the default pool; here both live in one process. Fields are numbered from 1
in the order given: what goes over the wire is fixed by these numbers, the names are for people. `[]` is repeated, `{}`
a map from text.

Source:
    https://github.com/kserve/open-inference-protocol, gRPC specification; the repository's messages from its extension.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip
"""Each takes `<name>Request` and gives `<name>Response`."""

_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool",
    "ModelReadyRequest": "name:string version:string",
    "ModelReadyResponse": "ready:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string version:string extensions:string[]",
    "ModelMetadataRequest": "name:string version:string",
    "TensorMetadata": "name:string datatype:string shape:int64[]",
    "ModelMetadataResponse": (
        "name:string versions:string[] platform:string inputs:TensorMetadata[] outputs:TensorMetadata[]"
    ),
    "InferParameter": "bool_param:bool int64_param:int64 string_param:string double_param:double uint64_param:uint64",
    "InferTensorContents": (
        "bool_contents:bool[] int_contents:int32[] int64_contents:int64[] uint_contents:uint32[] "
        "uint64_contents:uint64[] fp32_contents:float[] fp64_contents:double[] bytes_contents:bytes[]"
    ),
    "InferInputTensor": (
        "name:string datatype:string shape:int64[] parameters:InferParameter{} contents:InferTensorContents"
    ),
    "InferRequestedOutputTensor": "name:string parameters:InferParameter{}",
    "ModelInferRequest": (
        "model_name:string model_version:string id:string parameters:InferParameter{} inputs:InferInputTensor[] "
        "outputs:InferRequestedOutputTensor[] raw_input_contents:bytes[]"
    ),
    "InferOutputTensor": (
        "name:string datatype:string shape:int64[] parameters:InferParameter{} contents:InferTensorContents"
    ),
    "ModelInferResponse": (
        "model_name:string model_version:string id:string parameters:InferParameter{} outputs:InferOutputTensor[] "
        "raw_output_contents:bytes[]"
    ),
    "RepositoryIndexRequest": "repository_name:string ready:bool",
    "ModelIndex": "name:string version:string state:string reason:string",
    "RepositoryIndexResponse": "models:ModelIndex[]",
    "ModelRepositoryParameter": "bool_param:bool int64_param:int64 string_param:string bytes_param:bytes",
    "RepositoryModelLoadRequest": (
        "repository_name:string model_name:string parameters:ModelRepositoryParameter{}"
    ),
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": (
        "repository_name:string model_name:string parameters:ModelRepositoryParameter{}"
    ),
    "RepositoryModelUnloadResponse": "",
}  # fmt: skip
_CHOICES = {"InferParameter", "ModelRepositoryParameter"}
"""One of their fields is set."""


def _add_field(message: DescriptorProto, number: int, name: str, kind: str) -> None:
    plain = kind.removesuffix("[]").removesuffix("{}")
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.endswith("{}"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", plain)
        plain = f"{message.name}.{entry.name}"
    if kind.endswith(("[]", "{}")):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    scalar = FieldDescriptorProto.Type.DESCRIPTOR.values_by_name.get(f"TYPE_{plain.upper()}")
    if scalar is None:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
    else:
        field.type = scalar.number
    if message.name in _CHOICES:
        field.oneof_index = 0


def _make_messages() -> dict[str, Any]:
    file = FileDescriptorProto(name="nightshift/open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name in _CHOICES:
            message.oneof_decl.add(name="parameter_choice")
        for number, field in enumerate(fields.split(), start=1):
            _add_field(message, number, *field.split(":"))
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES}


MESSAGES = _make_messages()
"""The classes, by name."""
