"""Holds the .proto files against the rules of their style; prints what breaks one and exits 1.

A file lies in the folder of its package, the package ends in its version; messages, services and methods are
UpperCamelCase, fields lower_snake_case, enum values carry their enum's name and start with _UNSPECIFIED = 0;
everything but fields and values has a comment. confproto is as its clients know it, and exempt.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from compiled import ROOT, compile_tree
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

EXEMPT = ("confproto/",)
_CAMEL = re.compile(r"([A-Z][a-z0-9]*)+")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_PACKAGE = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*\.v[1-9][0-9]*")
Path_ = Sequence[int]


def faults(file: FileDescriptorProto) -> Iterator[str]:
    """What breaks a rule in one file, in words."""
    if file.syntax != "proto3":
        yield "the syntax is not proto3"
    if not _PACKAGE.fullmatch(file.package):
        yield f"the package {file.package!r} does not end in a version, such as .v1"
    if str(Path(file.name).parent) != file.package.replace(".", "/"):
        yield f"the package {file.package} does not lie in the folder of its name"
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for i, message in enumerate(file.message_type):
        yield from _message(message, (4, i), comments)
    for i, enum in enumerate(file.enum_type):
        yield from _enum(enum, (5, i), comments)
    for i, service in enumerate(file.service):
        yield from _named("service", service.name, (6, i), comments)
        for j, method in enumerate(service.method):
            yield from _named("method", method.name, (6, i, 2, j), comments)


def _named(kind: str, name: str, path: Path_, comments: dict[tuple[int, ...], str]) -> Iterator[str]:
    if not _CAMEL.fullmatch(name):
        yield f"the {kind} {name} is not UpperCamelCase"
    if not comments.get(tuple(path), "").strip():
        yield f"the {kind} {name} has no comment"


def _message(message: DescriptorProto, path: Path_, comments: dict[tuple[int, ...], str]) -> Iterator[str]:
    yield from _named("message", message.name, path, comments)
    for field in message.field:
        if not _SNAKE.fullmatch(field.name):
            yield f"the field {message.name}.{field.name} is not lower_snake_case"
    for i, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, (*path, 3, i), comments)
    for i, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, 4, i), comments)


def _enum(enum: EnumDescriptorProto, path: Path_, comments: dict[tuple[int, ...], str]) -> Iterator[str]:
    yield from _named("enum", enum.name, path, comments)
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    for value in enum.value:
        if not value.name.startswith(prefix) or value.name != value.name.upper():
            yield f"the value {value.name} is not {prefix}… in capitals"
    if enum.value[0].name != f"{prefix}UNSPECIFIED":
        yield f"the zero value of {enum.name} is not {prefix}UNSPECIFIED"


def main(root: Path = ROOT) -> int:
    """Checks the tree; the exit code."""
    found = [
        f"{root.name}/{name}: {fault}"
        for name, file in compile_tree(root).items()
        if not name.startswith(EXEMPT)
        for fault in faults(file)
    ]
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
