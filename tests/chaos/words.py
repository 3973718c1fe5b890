"""What clients and operators see of each kind of fault, in words; the figures beside them come from the ledger."""

from typing import Final

_KEYED: Final = "a vote with a key is sent again and counts once; an anonymous one stays undecided"
_NOTHING: Final = "nothing: votes are acknowledged as before"
_STANDINGS: Final = f"{_NOTHING}; standings stand still meanwhile"
_RESULTS: Final = f"{_NOTHING}; the board's results are late, or 503, meanwhile"
_RECORDS: Final = f"{_NOTHING}; new votes are missing from the latest records meanwhile"
_PANIC: Final = (
    "the storage engine refuses every write until the server is started again, with room (MongoDB ends by itself then;"
    " SecantusDB, its stand-in here, is ended)"
)

WORDS: Final[dict[str, tuple[str, str]]] = {
    "kill gateway": (
        f"open connections break, new ones are refused (a load balancer sends them to another gateway); {_KEYED}",
        "the supervisor names the gateway and starts it again",
    ),
    "kill collector": (
        f"504 for votes whose answer was lost, 503 for later ones; {_KEYED}",
        "gateway: `the answer of a collector was lost`, then `a collector took nothing`; its `/readyz` fails",
    ),
    "kill tally": (
        _STANDINGS,
        "partitions move to another replica within a session; `projection_lag_votes` grows and falls",
    ),
    "kill archive": (
        _RECORDS,
        "partitions move to another replica within a session; `projection_lag_votes` grows and falls",
    ),
    "kill board": ("pages and results are away; " + _NOTHING, "the supervisor names the board and starts it again"),
    "kill kafka": (
        f"votes under way wait for Kafka and are 504 at their deadline; within 2 s new ones are 503; {_KEYED}",
        "collector: brokers lost, `/readyz` fails; tally and archive: `waiting`; nothing to do once Kafka is back",
    ),
    "kill redis": (
        _STANDINGS,
        "tally: `waiting` with Redis' address, its `/readyz` fails; it goes on where Redis stands",
    ),
    "kill mongo": (_RECORDS, "archive: `waiting` with MongoDB's address, its `/readyz` fails; it goes on by itself"),
    "stop gateway": (
        "503 or a refused connection from the moment of the stop; what was under way is answered",
        "it ends with code 0 within ten seconds",
    ),
    "stop collector": (
        "503 from the moment of the stop; what was under way is answered",
        "it ends with code 0 within ten seconds; health says not serving at once",
    ),
    "stop tally": (_STANDINGS, "it ends with code 0; its partitions move at once"),
    "stop archive": (_RECORDS, "it ends with code 0; its partitions move at once"),
    "stop board": ("pages and results are away; " + _NOTHING, "it ends with code 0"),
    "freeze collector": (
        f"504 at the deadline; {_KEYED}. Votes that it held are recorded when it wakes",
        "gateway: lost answers; after 7 s of silence the connection is given up",
    ),
    "freeze tally": (
        _STANDINGS,
        "the other replica takes over; woken, the zombie's batch is refused (`position moved`)",
    ),
    "freeze archive": (
        _RECORDS,
        "the other replica takes over; woken, the zombie's batch is refused (`position moved`)",
    ),
    "rebalance storm": (_STANDINGS, "partitions move to and fro; each replica goes on at the stored positions"),
    "full disk kafka": (
        f"as when Kafka is killed: 504 for votes under way, then 503; {_KEYED}",
        "Kafka ends and says that all its log directories failed; it is started again and needs room",
    ),
    "full disk redis": (_STANDINGS, "Redis answers MISCONF, tally: `waiting`; it goes on once there is room"),
    "full disk mongo": (
        _RECORDS,
        f"{_PANIC}; archive: `waiting`, then it goes on",
    ),
    "redis wiped": (
        f"{_NOTHING}; standings begin again at nothing and fill up",
        "the position is gone with the counts: `position moved`, and a rebuild from the log's beginning, by itself",
    ),
    "redis restored": (
        f"{_NOTHING}; standings go back to the snapshot and fill up",
        "position and counts went back together: `position moved`, and the gap is replayed",
    ),
    "redis read-only": (_STANDINGS, "Redis answers READONLY, tally: `waiting`"),
    "redis out of memory": (_STANDINGS, "Redis answers OOM, tally: `waiting`; give it memory, never eviction"),
    "garbage records": (
        _NOTHING,
        "each is in the rejected topic, once, with its reason; `votes_rejected_total` counts them",
    ),
    "duplicate storm": (
        "every copy gets the same receipt; one vote counts",
        "`votes_repeated_total` counts the copies",
    ),
    "group deleted": (_NOTHING, "lag dashboards begin anew; replicas go on at their own positions"),
    "clock an hour fast": (
        "from that gateway 409 before the closing, 503 in contests that are open",
        "collector refuses stamps more than 60 s from its clock; `doctor` names the skew",
    ),
    "clock an hour slow": (
        "from that gateway 503, before the closing and after it",
        "collector refuses stamps more than 60 s from its clock; `doctor` names the skew",
    ),
}

_LINKS: Final = {
    "client-gateway": "connections to the gateway hang or break",
    "gateway-collector": "503 where no collector was reached, 504 where its answer was lost",
    "collector-kafka": "votes under way wait, 504 at their deadline, 503 once brokers count as lost",
    "tally-redis": _STANDINGS,
    "archive-mongo": _RECORDS,
    "tally-kafka": _STANDINGS,
    "archive-kafka": _RECORDS,
    "board-redis": _RESULTS,
    "board-mongo": _RESULTS,
    "gateway-board": _RESULTS,
}
_MODES: Final = {
    "delay": "everything is slower by the delay; no log says more",
    "blackhole": "time-outs; what was sent goes on when the link does",
    "reset": "connections are made again at once",
    "half-open": "silence until a keepalive or a time-out gives the connection up; new ones work",
    "answer-lost": "the work was done and the answer is gone: retries find it done",
}


SOAK: Final = """\
## The soak

`make soak` has the whole stack take votes at a steady pace, half of them anonymous, half with a key, while two viewers
follow the stream and standings are read once a second. Last, on {date}: {minutes} minutes at {rate} votes a second;
{servers}.

{result}

*Settled* is the median of two minutes after the first five, *end* that of the last two; a shorter run has shorter
times. A process is flat when it has grown by {growth} at most; Redis may have {bytes} bytes a remembered id besides.
Lag does not grow when a line through its minutes rises by less than three of its standard errors, or by less
than a quarter of a second's votes; it must be below three seconds' votes at the end, and at 19 of 20 looks. Every vote
was then looked for by its id, as after each round above.
"""


def words_of(kind: str) -> tuple[str, str]:
    """What a client sees and what an operator sees. Raises `KeyError` for a kind without words."""
    if kind in WORDS:
        return WORDS[kind]
    mode, _, link = kind.partition(" ")
    client = _LINKS[link]
    if mode == "delay" and client != _RESULTS:
        client = "answers are later by the delay" if client not in (_STANDINGS, _RECORDS) else _NOTHING
    return client, _MODES[mode]
