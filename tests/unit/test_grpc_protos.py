"""The .proto files' checks: each rule and each breaking change, planted and caught."""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"
RIGHT = """syntax = "proto3";
package shop.v1;
// Sells.
service Till {
  // Takes money.
  rpc Pay(Bill) returns (Change);
}
// What is due.
message Bill {
  reserved 4, 8 to 9;
  reserved "tip";
  string number = 1;
  repeated int32 cents = 2;
  Kind kind = 3;
  optional string note = 5;
  oneof who {
    string name = 6;
    string table = 7;
  }
}
// What comes back.
message Change {
  // A coin.
  message Coin { int32 cents = 1; }
  repeated Coin coins = 1;
}
// How it is paid.
enum Kind {
  reserved 5;
  reserved "KIND_CHEQUE";
  KIND_UNSPECIFIED = 0;
  KIND_CASH = 1;
}
"""
BREAKS = [
    ("package shop.v1", "package shop.v2", "the package shop.v1 became shop.v2"),
    ("service Till", "service Desk", "the service Till is gone"),
    ("rpc Pay(", "rpc Spend(", "the method Till.Pay is gone"),
    ("Pay(Bill)", "Pay(Change)", "changed what it takes"),
    ("returns (Change)", "returns (Bill)", "changed what it takes"),
    ("returns (Change)", "returns (stream Change)", "between one message and a stream"),
    ("Pay(Bill)", "Pay(stream Bill)", "between one message and a stream"),
    ("string number = 1;", "", "the field Bill.number = 1 is gone"),
    ("string number = 1;", "reserved 1;", "the field Bill.number = 1 is gone"),
    ("string number = 1;", "string number = 10;", "changed its number to 10"),
    ("string number = 1;", "string code = 1;", "Bill.number = 1 became code"),
    ("string number = 1;", "int32 number = 1;", "the field Bill.number changed its type"),
    ("string number = 1;", "optional string number = 1;", "the field Bill.number changed its type"),
    ("repeated int32 cents", "int32 cents", "the field Bill.cents changed its type"),
    ("repeated int32 cents = 2;", "repeated int32 cents = 2 [packed = false];", "Bill.cents changed its type"),
    ("Kind kind = 3", "Change kind = 3", "the field Bill.kind changed its type"),
    ("optional string note", "string note", "the field Bill.note changed its type"),
    ("oneof who", "oneof whom", "the field Bill.name changed its type"),
    ("reserved 4, 8 to 9;", "reserved 8 to 9;", "the numbers 4 to 4 of Bill are no longer reserved"),
    ("reserved 4, 8 to 9;", "reserved 4, 8;", "the numbers 8 to 9 of Bill are no longer reserved"),
    ('reserved "tip";', "", "the name 'tip' of Bill is no longer reserved"),
    ("message Coin { int32 cents = 1; }", "message Coin { int64 cents = 1; }", "Change.Coin.cents changed its type"),
    ("Coin", "Piece", "the message Change.Coin is gone"),
    ("KIND_CASH = 1;", "", "the value Kind.KIND_CASH = 1 is gone"),
    ("KIND_CASH = 1;", "KIND_CASH = 2;", "the value Kind.KIND_CASH = 1 changed its number to 2"),
    ("  reserved 5;", "", "the numbers 5 to 5 of Kind are no longer reserved"),
    ('reserved "KIND_CHEQUE";', "", "the name 'KIND_CHEQUE' of Kind is no longer reserved"),
    ("Kind", "Way", "the enum Kind is gone"),
]
FAULTS = [
    ('"proto3"', '"proto2"', "the syntax is not proto3"),
    ("package shop.v1", "package shop", "does not end in a version"),
    ("package shop.v1", "package store.v1", "does not lie in the folder of its name"),
    ("Pay(", "pay(", "the method pay is not UpperCamelCase"),
    ("Bill", "the_bill", "the message the_bill is not UpperCamelCase"),
    ("string number", "string theNumber", "the field Bill.theNumber is not lower_snake_case"),
    ("KIND_CASH", "CASH", "the value CASH is not KIND_"),
    ("KIND_CASH", "KIND_Cash", "the value KIND_Cash is not KIND_"),
    ("KIND_UNSPECIFIED", "KIND_NONE", "the zero value of Kind is not KIND_UNSPECIFIED"),
    ("// Sells.", "", "the service Till has no comment"),
    ("// Takes money.", "", "the method Pay has no comment"),
    ("// What is due.", "", "the message Bill has no comment"),
    ("// A coin.", "", "the message Coin has no comment"),
    ("// How it is paid.", "", "the enum Kind has no comment"),
]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    monkeypatch.syspath_prepend(str(PROTO))
    yield {name: importlib.import_module(name) for name in ("breaking", "lint")}
    for name in ("breaking", "lint", "compiled"):
        sys.modules.pop(name, None)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path / "tree", RIGHT)
    return tmp_path / "tree"


def write(tree: Path, text: str) -> None:
    path = tree / "shop" / "v1" / "till.proto"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("old", "new", "fault"), BREAKS)
def test_breaking(
    tool: dict[str, ModuleType], tree: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, fault: str
) -> None:
    """A change that breaks clients or recorded votes is named, until the baseline is updated on purpose."""
    arguments = ["--root", str(tree), "--baseline", str(tree / "baseline")]
    main = tool["breaking"].main
    assert main([*arguments, "--update"]) == 0
    assert main(arguments) == 0
    assert old in RIGHT
    write(tree, RIGHT.replace(old, new))
    assert main(arguments) == 1
    assert fault in capsys.readouterr().err
    assert main([*arguments, "--update"]) == 0
    assert main(arguments) == 0


def test_file_gone(tool: dict[str, ModuleType], tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is gone breaks its clients."""
    arguments = ["--root", str(tree), "--baseline", str(tree / "baseline")]
    write(tree / "other", RIGHT.replace("shop.v1", "other.shop.v1"))
    tool["breaking"].main([*arguments, "--update"])
    shutil.rmtree(tree / "other")
    assert tool["breaking"].main(arguments) == 1
    assert "other/shop/v1/till.proto: the file is gone" in capsys.readouterr().err


def test_additions(tool: dict[str, ModuleType], tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An addition or a comment breaks nothing; an addition only asks to be held from now on."""
    breaking = tool["breaking"]
    arguments = ["--root", str(tree), "--baseline", str(tree / "baseline")]
    before = breaking.compile_tree(tree)
    breaking.main([*arguments, "--update"])
    write(tree, RIGHT.replace("// A coin.", "// A piece of metal."))
    assert breaking.main(arguments) == 0
    write(tree, RIGHT.replace("KIND_CASH = 1;", "KIND_CASH = 1; KIND_CARD = 2;"))
    assert list(breaking.breaks(before, breaking.compile_tree(tree))) == []
    assert breaking.main(arguments) == 1
    assert "--update" in capsys.readouterr().err


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS)
def test_lint(
    tool: dict[str, ModuleType], tree: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, fault: str
) -> None:
    """A file that breaks a rule of style is named with the rule; one that keeps them all passes."""
    assert tool["lint"].main(tree) == 0
    assert old in RIGHT
    text = RIGHT.replace(old, new)
    if "proto2" in text:  # which wants a label on every field
        for field in ("string number", "Kind kind", "int32 cents = 1"):
            text = text.replace(field, f"optional {field}")
    write(tree, text)
    assert tool["lint"].main(tree) == 1
    assert fault in capsys.readouterr().err


def test_older_is_exempt(tool: dict[str, ModuleType], tree: Path) -> None:
    """The older service is as its clients know it: the rules leave it alone."""
    (tree / "confproto").mkdir()
    shutil.copy(PROTO / "confproto" / "confproto.proto", tree / "confproto")
    assert tool["lint"].main(tree) == 0


def test_unreadable(tool: dict[str, ModuleType], tree: Path) -> None:
    """A file that protoc refuses ends the check."""
    write(tree, "message {")
    with pytest.raises(SystemExit, match="protoc refuses"):
        tool["lint"].main(tree)


def copy(tmp_path: Path) -> Path:
    """A copy of what `proto/check` looks at."""
    shutil.copytree(PROTO, tmp_path / "proto", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "src" / "aplauso" / "v1", tmp_path / "src" / "aplauso" / "v1")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


def check(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([root / "proto" / "check"], capture_output=True, text=True, check=False)


def test_check_passes(tmp_path: Path) -> None:
    """The committed files pass their own check."""
    done = check(copy(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_check_fails(tmp_path: Path) -> None:
    """The check names generated code that was edited, that is missing and that nobody generates, lint and breaks."""
    root = copy(tmp_path)
    generated = root / "src" / "aplauso" / "v1"
    (generated / "vote_pb2.py").write_text("# edited\n")
    (generated / "confproto_pb2.pyi").unlink()
    (generated / "stray_pb2.py").write_text("")
    vote = root / "proto" / "aplauso" / "v1" / "vote.proto"
    vote.write_text(vote.read_text().replace("string band = 8", "string theBand = 8"))
    done = check(root)
    assert done.returncode == 1
    for said in (
        "vote_pb2.py is not what proto/ gives",
        "confproto_pb2.pyi is not what proto/ gives",
        "stray_pb2.py comes from no .proto file",
        "the field Vote.theBand is not lower_snake_case",
        "the field Vote.band = 8 became theBand",
    ):
        assert said in done.stderr
