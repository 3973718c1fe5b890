"""`aplauso vote` and `aplauso load` as processes, against a gateway that does as it is told."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from aplauso.domain.journal import Outcome, read
from aplauso.domain.readback import ReadBack, body_of
from aplauso.domain.record import is_anonymous
from aplauso.domain.verdict import Journal, judge
from aplauso.domain.vote import id_from_key
from aplauso.stack.process import free_port
from commands import end, run, run_on_terminal, start
from scripted_gateway import (
    CONTEST,
    Reply,
    Request,
    ScriptedGateway,
    Then,
    http,
    in_turn,
    problem,
    recorded,
)

VOTE = ("vote", "Alux Nahual", "Alto al Fuego", "--year", "1988", "--rank", "9")
HOSTILE = "[red]\x1b[2J\u202eNahual"


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    """A traffic file of ten votes, one a line."""
    path = tmp_path / "traffic.ndjson"
    lines = [{"name": f"Band {n % 3}", "album": "Señales", "year": "1999", "rank": str(n % 10 + 1)} for n in range(10)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


async def test_vote_prints_its_receipt_as_json() -> None:
    """Where the output is not a terminal, the receipt is one JSON object, and nothing else is said."""
    async with ScriptedGateway() as gateway:
        ended = await run(*VOTE, "--url", gateway.url)
    assert (ended.code, ended.err) == (0, "")
    assert ended.json == {"id": gateway.votes[0].id, "contest": CONTEST, "status": "recorded"}
    assert gateway.votes[0].path == "/insert"
    assert gateway.votes[0].key


async def test_vote_goes_to_the_named_contest_at_the_address_of_the_environment() -> None:
    """`--contest` names the contest, `APLAUSO_URL` the gateway, `--key` the key."""
    async with ScriptedGateway() as gateway:
        ended = await run(*VOTE, "--contest", CONTEST, "--key", "0123456789abcdef", APLAUSO_URL=gateway.url)
    assert ended.code == 0
    assert (gateway.votes[0].path, gateway.votes[0].key) == (f"/v1/contests/{CONTEST}/votes", "0123456789abcdef")


async def test_vote_shows_its_receipt_on_a_terminal_harmlessly() -> None:
    """On a terminal the receipt is a table, in which a name's escapes, directions and markup are only shown."""
    async with ScriptedGateway() as gateway:
        code, shown = await run_on_terminal(
            "vote", HOSTILE, "Sub", "--year", "1988", "--rank", "9", "--url", gateway.url
        )
    assert code == 0
    assert r"[red]\x1b[2J\u202eNahual" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert gateway.votes[0].id in shown


async def test_vote_is_tried_until_it_is_recorded() -> None:
    """Through refusals and lost answers the same key is sent until there is a receipt."""
    script = in_turn(
        problem(503, {"Retry-After": "0"}), problem(504), Reply(then=Then.RESET), Reply(then=Then.HANG), recorded
    )  # fmt: skip
    async with ScriptedGateway(script) as gateway:
        ended = await run(*VOTE, "--url", gateway.url, "--timeout", "0.3")
    assert ended.code == 0
    assert len(gateway.votes) == 5
    assert len({request.key for request in gateway.votes}) == 1
    assert ended.json["id"] == gateway.votes[0].id


async def test_refused_vote_names_the_field() -> None:
    """A refused vote is one line on stderr with the field at fault, made harmless, and exit code 1."""
    script = in_turn(problem(422, errors=[{"field": "rank", "message": "must be 1 to 10\x1b[2J\nand more"}]))
    async with ScriptedGateway(script) as gateway:
        ended = await run(*VOTE, "--url", gateway.url)
    assert ended.code == 1
    assert ended.err == "the vote was refused (422): rank: must be 1 to 10\\x1b[2J\\nand more\n"
    assert ended.json["status"] == "refused"
    assert len(gateway.votes) == 1


async def test_undecided_vote_tells_its_key() -> None:
    """When nobody knows, the exit code is 1 and the key to try again with is told."""
    async with ScriptedGateway(in_turn(problem(504, id="an-id"))) as gateway:
        ended = await run(*VOTE, "--url", gateway.url, "--patience", "0.2")
    key = gateway.votes[0].key
    assert ended.code == 1
    assert ended.json == {
        "id": "an-id", "contest": None, "status": "undecided", "detail": "Title 504", "key": key
    }  # fmt: skip
    assert ended.err.endswith(f"try again with --key {key}\n")


async def test_vote_without_gateway_is_told() -> None:
    """Where nobody listens, one line says so, and that nothing is recorded."""
    ended = await run(*VOTE, "--url", f"http://127.0.0.1:{free_port()}", "--patience", "0.1")
    assert ended.code == 1
    assert ended.err.startswith("the vote was not recorded: no connection")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        VOTE[:-2],
        (*VOTE, "--key", "short"),
        (*VOTE[:-1], "nine"),
        (*VOTE[:2], "\udcff", *VOTE[3:]),
        ("load",),
        ("load", "f", "--rate", "0"),
    ],
)
async def test_usage_errors_are_told(arguments: Sequence[str]) -> None:
    """A wrong call is exit code 2."""
    ended = await run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host"])
async def test_wrong_address_is_one_line(traffic: Path, url: str) -> None:
    """An address that is none is named in one line."""
    for arguments in (VOTE, ("load", str(traffic))):
        ended = await run(*arguments, "--url", url)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert f"'{url}' is not an address" in ended.err


async def test_load_sends_every_vote_and_sums_up(traffic: Path, tmp_path: Path) -> None:
    """All votes of the file are sent, repeated as asked, each with its own key; journal and summary say so."""
    journal = tmp_path / "journal.ndjson"
    async with ScriptedGateway() as gateway:
        ended = await run("load", traffic, "--url", gateway.url, "--votes", "25", "--journal", journal, "--json")
    assert ended.code == 0
    assert ended.json["recorded"] == ended.json["sent"] == 25
    assert ended.json["refused"] == {}
    assert ended.json["receipt_seconds"]["max"] > 0
    sent = Counter(json.loads(request.body)["rank"] for request in gateway.votes)
    assert sent == {str(rank): 3 if rank <= 5 else 2 for rank in range(1, 11)}
    with journal.open("rb") as lines:
        attempts = list(read(lines))
    assert {a.id for a in attempts} == {request.id for request in gateway.votes}
    assert len({a.key for a in attempts}) == 25
    assert {(a.contest, a.outcome, a.status) for a in attempts} == {(CONTEST, Outcome.RECORDED, 201)}


@pytest.fixture
def array(traffic: Path) -> Path:
    """The same votes as one array."""
    path = traffic.with_suffix(".json")
    path.write_text(json.dumps([json.loads(line) for line in traffic.read_text().splitlines()], indent=1))
    return path


async def test_load_reads_an_array_and_prints_a_table(array: Path) -> None:
    """An array is a traffic file too; the summary is a table; away from a terminal progress is plain lines."""
    async with ScriptedGateway() as gateway:
        ended = await run("load", array, "--url", gateway.url)
    assert ended.code == 0
    assert "10 of 10 votes sent" in ended.out
    assert "receipt p99" in ended.out
    assert ended.err == "10 of 10 votes; 10 recorded\n"


async def test_load_shows_a_bar_on_a_terminal(traffic: Path) -> None:
    """On a terminal a progress bar stands above the summary."""
    async with ScriptedGateway() as gateway:
        code, shown = await run_on_terminal("load", traffic, "--url", gateway.url)
    assert code == 0
    assert "━" in shown
    assert "10/10" in shown
    assert "recorded a second" in shown


class Moody:
    """A gateway that keeps votes by id, as a right one does, and loses answers before and after it has kept them."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.turn = 0
        self.random = Random(20)

    def __call__(self, request: Request) -> Reply:
        """Fails every other time, in one of six ways."""
        self.turn += 1
        way = self.random.randrange(12)
        before = [problem(503), Reply(then=Then.RESET), Reply(b"HTTP/1.1 2", Then.CLOSE)]
        if way < 3:
            return before[way]
        vote_id = request.id if request.key else f"01890000-0000-7000-8000-{self.turn:012x}"
        self.kept.setdefault(vote_id, request.body)
        receipt = json.dumps({"id": vote_id, "contest": CONTEST, "status": "recorded"}).encode()
        after = [Reply(then=Then.CLOSE), Reply(http(201, receipt)[:-9], Then.RESET), problem(504, id=vote_id)]
        return after[way - 3] if way < 6 else Reply(http(201, receipt))

    def read_back(self) -> ReadBack:
        """What it holds, as a system would show it."""
        bodies = {vote_id: body_of(CONTEST, **json.loads(body)) for vote_id, body in self.kept.items()}
        back = ReadBack(counted=bodies, archived=dict(bodies))
        back.standings = back.totals([CONTEST])
        return back


async def test_journal_of_a_stormy_load_stands_up(traffic: Path, tmp_path: Path) -> None:
    """Through every fault each vote with a key is recorded once, and the checker finds journal and gateway at one."""
    journal, moody = tmp_path / "journal.ndjson", Moody()
    async with ScriptedGateway(moody) as gateway:
        ended = await run(
            "load", traffic, "--url", gateway.url, "--votes", "200", "--journal", journal,
            "--anonymous", "0.5", "--connections", "32", "--contest", CONTEST, "--json",
        )  # fmt: skip
    with journal.open("rb") as lines:
        attempts = list(read(lines))
    verdict = judge(Journal(attempts), moody.read_back())
    assert verdict.ok, verdict
    assert sum(not is_anonymous(vote_id) for vote_id in moody.kept) == 100
    assert ended.json["recorded"] == verdict.acknowledged
    assert ended.json["undecided"] == verdict.undecided > 0
    assert ended.json["recorded"] + ended.json["undecided"] == 200
    assert verdict.undecided_counted.count > 0
    assert ended.code == 1
    assert all(a.id == id_from_key(CONTEST, a.key) for a in attempts if a.key)
    taken = moody.read_back()
    taken.counted.pop(next(a.id for a in attempts if a.outcome is Outcome.RECORDED and a.id))
    assert not judge(Journal(attempts), taken).ok


async def test_load_with_refused_votes_fails(traffic: Path) -> None:
    """When votes are refused, the summary counts them by status and the exit code is 1."""
    async with ScriptedGateway(in_turn(recorded, problem(422), problem(409))) as gateway:
        ended = await run("load", traffic, "--url", gateway.url, "--json")
    assert ended.code == 1
    assert (ended.json["recorded"], ended.json["refused"]) == (1, {"422": 1, "409": 8})


async def test_load_paces_votes(traffic: Path) -> None:
    """With `--rate` votes leave at that pace."""
    async with ScriptedGateway() as gateway:
        ended = await run("load", traffic, "--url", gateway.url, "--rate", "20", "--json")
    assert ended.json["seconds"] >= 9 / 20
    assert ended.code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_load_stops_cleanly(traffic: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Stopped by a signal, a load answers for what it sent, prints its summary and exits with 130."""
    journal = tmp_path / "journal.ndjson"
    async with ScriptedGateway() as gateway:
        process = await start(
            "load", traffic, "--url", gateway.url, "--votes", "1000000", "--rate", "200", "--json", "--journal", journal
        )
        async with asyncio.timeout(30):
            await gateway.came(1)
        process.send_signal(number)
        ended = await end(process)
    assert ended.code == 130
    assert ended.json["recorded"] == ended.json["sent"] == len(gateway.votes)
    assert journal.read_bytes().count(b"\n") == len(gateway.votes)


async def test_second_signal_stops_at_once(traffic: Path, tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for answers: what is under way is undecided, in the journal too."""
    journal = tmp_path / "journal.ndjson"
    async with ScriptedGateway(in_turn(Reply(then=Then.HANG))) as gateway:
        process = await start("load", traffic, "--url", gateway.url, "--json", "--journal", journal)
        async with asyncio.timeout(30):
            await gateway.came(10)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert b"stopping" in await asyncio.wait_for(process.stderr.readline(), 10)
        process.send_signal(signal.SIGINT)
        ended = await end(process)
    assert ended.code == 130
    assert (ended.json["sent"], ended.json["undecided"]) == (10, 10)
    with journal.open("rb") as lines:
        assert [a.outcome for a in read(lines)] == [Outcome.UNDECIDED] * 10


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "No such file or directory"),
        (b"", "holds no votes"),
        (b"name;album", "line 1 is not JSON"),
        (b'{"name": "a", "album": "b", "year": 1999}', "line 1 is not a vote: rank: is missing"),
    ],
)
async def test_wrong_file_is_one_line(tmp_path: Path, data: bytes | None, said: str) -> None:
    """A traffic file that is wrong is one line on stderr with its name, and exit code 1; nothing is sent."""
    path = tmp_path / "traffic"
    if data is not None:
        path.write_bytes(data)
    async with ScriptedGateway() as gateway:
        ended = await run("load", path, "--url", gateway.url)
    assert (ended.code, ended.out, gateway.votes) == (1, "", [])
    assert ended.err.count("\n") == 1
    assert str(path) in ended.err
    assert said in ended.err


async def test_journal_is_appended_to_unless_it_is_cut_off(traffic: Path, tmp_path: Path) -> None:
    """A second load adds its lines to the journal; a journal whose last line is cut off is left alone."""
    journal = tmp_path / "journal.ndjson"
    async with ScriptedGateway() as gateway:
        for _ in range(2):
            assert (await run("load", traffic, "--url", gateway.url, "--journal", journal)).code == 0
        assert journal.read_bytes().count(b"\n") == 20
        cut = journal.read_bytes()[:-3]
        journal.write_bytes(cut)
        ended = await run("load", traffic, "--url", gateway.url, "--journal", journal)
    assert ended.code == 1
    assert "cut off" in ended.err
    assert len(gateway.votes) == 20
    assert journal.read_bytes() == cut


def test_the_gateway_may_stand_in_a_file(tmp_path: Path) -> None:
    """`vote` talks to the gateway that the settings name, wherever they stand."""
    (tmp_path / ".env").write_text("APLAUSO_URL=http://127.0.0.1:1\n")
    done = subprocess.run(
        [sys.executable, "-m", "aplauso", "vote", "A", "B", "--year", "1990", "--rank", "3", "--patience", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
