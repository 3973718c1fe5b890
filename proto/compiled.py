"""The .proto files as protoc understands them: descriptors, with their comments."""

import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).parent


def compile_tree(root: Path = ROOT) -> dict[str, FileDescriptorProto]:
    """Every .proto file below `root`, by its path from there.

    Raises:
        SystemExit: protoc refuses one; it has said why on stderr.
    """
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        code = protoc.main(
            ["protoc", f"-I{root}", f"-I{files('grpc_tools') / '_proto'}", "--include_source_info",
             f"--descriptor_set_out={out}", *names]
        )  # fmt: skip
        if code:
            raise SystemExit(f"protoc refuses the files of {root}")
        return {file.name: file for file in FileDescriptorSet.FromString(out.read_bytes()).file}
