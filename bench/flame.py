"""Where the time goes: `python -m bench.flame DIRECTORY` records flame graphs of gateway, collector and tally."""

import subprocess
import sys
from pathlib import Path

from bench.records import backlog
from bench.world import world
from bench.wrk import wrk

SECONDS = 8


def record(pid: int, file: Path) -> "subprocess.Popen[bytes]":
    """Samples a process for some seconds; native frames would hide ours on a machine without their symbols."""
    shape = "flamegraph" if file.suffix == ".svg" else "raw"
    command = ["py-spy", "record", "-p", str(pid), "-d", str(SECONDS), "-r", "200", "-f", shape, "-o", str(file)]
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("py-spy")), *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(directory: Path, votes: int = 1_000_000, suffix: str = "svg") -> None:
    """Gateway and collector under single votes, the tally over a backlog."""
    with world() as servers:
        servers.begin("collector", "gateway")
        port = servers.stack.ports["gateway"]
        for kind, path, connections in (("", "/insert", 512), ("-batches", "/v1/contests/bandas-gt/votes", 8)):
            script = "batch.lua" if kind else "single.lua"
            recording = [
                record(servers.pid(room), directory / f"flame-{room}{kind}.{suffix}")
                for room in ("gateway", "collector")
            ]
            wrk(f"http://127.0.0.1:{port}{path}", script, connections, SECONDS)
            for each in recording:
                each.wait()
        servers.end("gateway", "collector")
        backlog(servers, "flame", votes)
        with servers.projection("tally", "flame") as pid:
            record(pid, directory / f"flame-tally.{suffix}").wait()
    for file in directory.glob(f"flame-*.{suffix}"):  # they name py-spy with its place on this machine
        file.write_text(file.read_text().replace(f"{Path(sys.executable).parent}/", ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
