"""Compares the .proto files with the baseline; prints what would break clients or recorded votes, exits 1.

With --update, accepts the files as they are: they become the baseline. An addition needs no update to pass,
and gets one so that it is held from then on: the comparison asks for it.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from compiled import ROOT, compile_tree
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

BASELINE = ROOT / "baseline.binpb"
Files = dict[str, FileDescriptorProto]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def breaks(old: Files, new: Files) -> Iterator[str]:
    """What of `old` is gone or different in `new`, in words. Additions break nothing."""
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            yield f"{name}: the file is gone"
            continue
        if now.package != was.package:
            yield f"{name}: the package {was.package} became {now.package}"
        found = [
            *_messages(was.message_type, now.message_type, ""),
            *_enums(was.enum_type, now.enum_type, ""),
            *_services(was.service, now.service),
        ]
        yield from (f"{name}: {fault}" for fault in found)


def _pairs(was: Iterable[N], now: Iterable[N]) -> Iterator[tuple[N, N | None]]:
    present = {item.name: item for item in now}
    return ((item, present.get(item.name)) for item in was)


def _messages(was: Iterable[DescriptorProto], now: Iterable[DescriptorProto], where: str) -> Iterator[str]:
    for old, new in _pairs(was, now):
        name = f"{where}{old.name}"
        if new is None:
            yield f"the message {name} is gone"
            continue
        yield from _fields(old, new, name)
        yield from _reserved(old, new, name)
        yield from _messages(old.nested_type, new.nested_type, f"{name}.")
        yield from _enums(old.enum_type, new.enum_type, f"{name}.")


def _fields(old: DescriptorProto, new: DescriptorProto, message: str) -> Iterator[str]:
    by_number = {field.number: field for field in new.field}
    numbers = {field.name: field.number for field in new.field}
    for was in old.field:
        now = by_number.get(was.number)
        if now is not None and now.name == was.name:
            if _kind(was, old) != _kind(now, new):
                yield f"the field {message}.{was.name} changed its type"
        elif was.name in numbers:
            yield f"the field {message}.{was.name} = {was.number} changed its number to {numbers[was.name]}"
        elif now is None:
            yield f"the field {message}.{was.name} = {was.number} is gone"
        else:
            yield f"the field {message}.{was.name} = {was.number} became {now.name}"


def _kind(field: FieldDescriptorProto, message: DescriptorProto) -> tuple[object, ...]:
    union = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    packed = field.options.packed if field.options.HasField("packed") else None
    return field.type, field.label, field.type_name, field.proto3_optional, union, packed


def _reserved(old: DescriptorProto, new: DescriptorProto, message: str) -> Iterator[str]:
    for name in set(old.reserved_name) - set(new.reserved_name):
        yield f"the name {name!r} of {message} is no longer reserved"
    kept = {number for span in new.reserved_range for number in range(span.start, span.end)}
    for span in old.reserved_range:
        if not kept.issuperset(range(span.start, span.end)):
            yield f"the numbers {span.start} to {span.end - 1} of {message} are no longer reserved"


def _enums(was: Iterable[EnumDescriptorProto], now: Iterable[EnumDescriptorProto], where: str) -> Iterator[str]:
    for old, new in _pairs(was, now):
        name = f"{where}{old.name}"
        if new is None:
            yield f"the enum {name} is gone"
            continue
        for value, present in _pairs(old.value, new.value):
            if present is None:
                yield f"the value {name}.{value.name} = {value.number} is gone"
            elif present.number != value.number:
                yield f"the value {name}.{value.name} = {value.number} changed its number to {present.number}"
        for gone in set(old.reserved_name) - set(new.reserved_name):
            yield f"the name {gone!r} of {name} is no longer reserved"
        kept = {n for span in new.reserved_range for n in range(span.start, span.end + 1)}
        for span in old.reserved_range:
            if not kept.issuperset(range(span.start, span.end + 1)):
                yield f"the numbers {span.start} to {span.end} of {name} are no longer reserved"


def _services(was: Iterable[ServiceDescriptorProto], now: Iterable[ServiceDescriptorProto]) -> Iterator[str]:
    for old, new in _pairs(was, now):
        if new is None:
            yield f"the service {old.name} is gone"
            continue
        for method, present in _pairs(old.method, new.method):
            if present is None:
                yield f"the method {old.name}.{method.name} is gone"
            elif present.input_type != method.input_type or present.output_type != method.output_type:
                yield f"the method {old.name}.{method.name} changed what it takes or gives"
            elif (present.client_streaming, present.server_streaming) != (
                method.client_streaming,
                method.server_streaming,
            ):
                yield f"the method {old.name}.{method.name} changed between one message and a stream"


def packed(tree: Files) -> bytes:
    """The tree as a baseline: without comments, so that they change nothing."""
    found = FileDescriptorSet()
    for name in sorted(tree):
        found.file.add().CopyFrom(tree[name])
        found.file[-1].ClearField("source_code_info")
    return found.SerializeToString(deterministic=True)


def main(arguments: list[str] | None = None) -> int:
    """Compares or updates; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--update", action="store_true", help="accept the files as they are")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the .proto files")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the committed descriptors")
    options = parser.parse_args(arguments)
    now = compile_tree(options.root)
    if options.update:
        options.baseline.write_bytes(packed(now))
        return 0
    baseline = options.baseline.read_bytes()
    found = list(breaks({f.name: f for f in FileDescriptorSet.FromString(baseline).file}, now))
    if not found and packed(now) != baseline:
        found = ["the .proto files have additions that the baseline does not hold: proto/breaking.py --update"]
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
