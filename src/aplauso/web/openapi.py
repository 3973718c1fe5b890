"""The OpenAPI 3.1 document of every call: what `/openapi.json` answers and `/docs` shows.

Schemas say exactly what is accepted, so that a tester may generate requests from them and take every
answer that does not fit for a fault.
"""

from typing import Any, Final

from aplauso.domain.contest import ID, MAX_NAME
from aplauso.domain.vote import YEARS

Json = dict[str, Any]

_UUID: Final = "01939c5e-7a10-7c4e-9d53-8c1f0b6a2e47"
_KEYED: Final = "6f1d2c88-31b4-8e0a-b7d2-5a90c4e7f113"
_BALLOT: Final[Json] = {"name": "Marimba Eléctrica", "album": "Sub", "year": 1998, "rank": 9}
_PROBLEM: Final = "application/problem+json"
_INSTANT: Final[Json] = {"type": "string", "format": "date-time", "examples": ["2026-11-01T18:00:00.000Z"]}


def document(version: str, gateway_url: str = "") -> Json:
    """The whole document.

    Args:
        version: of the program.
        gateway_url: where votes go when that is another origin than the document's own, or "".
    """
    voting = {"servers": [{"url": gateway_url}]} if gateway_url else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aplauso",
            "version": version,
            "summary": "Live voting for contests.",
            "description": "No acknowledged vote is lost, none is counted twice, and anybody can recount.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "votes", "description": "Casting votes, and finding them again."},
            {"name": "results", "description": "Contests, standings and records."},
            {"name": "operation", "description": "For whoever runs it."},
            {"name": "pages", "description": "For people."},
        ],
        "paths": {
            "/insert": {"post": _insert(), **voting},
            "/v1/contests/{contest}/votes": {"parameters": [_ref("parameters", "contest")], "post": _cast(), **voting},
            **_results(),
            **_operation(),
            **_pages(),
        },
        "components": {
            "schemas": _schemas(),
            "parameters": _parameters(),
            "headers": _headers(),
            "responses": _responses(),
            "securitySchemes": {"voter": {"type": "http", "scheme": "bearer", "description": "A voter token."}},
        },
    }  # fmt: skip


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Json:
    return _ref("schemas", name)


def _json(schema: Json, example: Any = None) -> Json:
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}


def _answer(description: str, content: Json | None = None, **headers: Json) -> Json:
    answer: Json = {"description": description, "headers": {"X-Request-Id": _ref("headers", "request-id"), **headers}}
    return answer | ({"content": content} if content else {})


def _problems(*names: str) -> Json:
    """The answers that say what went wrong, by the names of `_responses`."""
    codes = {code: name for name, (code, *_) in _PROBLEMS.items() if name in names}
    return {str(code): _ref("responses", name) for code, name in sorted(codes.items())}


def _call(operation: str, tag: str, summary: str, responses: Json, **more: Any) -> Json:
    return {"operationId": operation, "tags": [tag], "summary": summary, "responses": responses, **more}


# Casting votes.

_CASTING: Final = (
    "malformed", "token", "no-contest", "not-open", "too-large", "wrong-type", "invalid", "too-many",
    "not-recorded", "undecided",
)  # fmt: skip


def _receipt() -> Json:
    example = {"id": _KEYED, "contest": "bandas-gt", "status": "recorded"}
    return _answer("The vote is in the log, on disk.", _json(_schema("Receipt"), example))


def _insert() -> Json:
    return _call(
        "insert", "votes", "Casts a vote in the default contest",
        {"201": _receipt(), **_problems(*_CASTING)},
        description="The older address. Answers exactly as a single vote of the default contest does.",
        parameters=[_ref("parameters", "key")],
        requestBody={"required": True, "content": _json(_schema("Ballot"), _BALLOT)},
    )  # fmt: skip


def _cast() -> Json:
    line = '{"name":"Marimba Eléctrica","album":"Sub","year":1998,"rank":'
    lines = f"{line}9}}\n{line}11}}\n"
    batch = {"schema": {"type": "string", "contentMediaType": "application/x-ndjson"}, "example": lines}
    report = {"recorded": 1, "rejected": [{"line": 2, "error": "rank: must be 1 to 10"}], "undecided": []}
    return _call(
        "castVote", "votes", "Casts a vote, or a batch of votes",
        {
            "200": _answer("What became of each line of a batch.", _json(_schema("BatchReport"), report)),
            "201": _receipt(),
            **_problems(*_CASTING),
        },
        description=(
            "As JSON: one vote, at most 16 KiB. As NDJSON (`application/x-ndjson`): one vote a line, at most 10,000 "
            "lines or 4 MiB; valid lines are recorded whatever the others are. With an `Idempotency-Key` the call may "
            "be repeated until it is answered, and counts once; each line of a batch has its own identity, made of "
            "the key and its number."
        ),
        parameters=[_ref("parameters", "key")],
        security=[{}, {"voter": []}],
        requestBody={
            "required": True,
            "content": {**_json(_schema("Ballot"), _BALLOT), "application/x-ndjson": batch},
        },
    )  # fmt: skip


# Reading results.


def _contest_example() -> Json:
    return {
        "id": "bandas-gt",
        "title": {"es": "Bandas de Guatemala", "en": "Bands of Guatemala"},
        "opens": "2026-11-01T18:00:00.000Z",
        "closes": None,
        "rank": {"min": 1, "max": 10},
        "nominations": "open",
        "bands": [{"name": "Marimba Eléctrica", "albums": ["Sub"]}],
    }


def _standings_example() -> Json:
    band = {
        "place": 1,
        "name": "Marimba Eléctrica",
        "votes": 2,
        "rank_mean": 8.5,
        "albums": [{"album": "Sub", "votes": 2}],
    }
    return {"contest": "bandas-gt", "total": 2, "standings": [band], "as_of": "2026-11-01T18:00:01.250Z"}


def _record_example() -> Json:
    return {"id": _UUID, **_BALLOT, "cast_at": "2026-11-01T18:00:00.000Z"}


def _results() -> Json:
    one = {"parameters": [_ref("parameters", "contest")]}
    missing, away = _problems("no-contest"), _problems("unavailable")
    contest, standings, record = _contest_example(), _standings_example(), _record_example()
    records = {"contest": "bandas-gt", "records": [record]}
    archived = {**record, "contest": "bandas-gt", "partition": 3, "offset": 41}
    return {
        "/v1/contests": {"get": _call("listContests", "results", "All contests", {
            "200": _answer("The contests.", _json(_schema("Contests"), {"contests": [contest]}))})},
        "/v1/contests/{contest}": one | {"get": _call("getContest", "results", "One contest", {
            "200": _answer("The contest.", _json(_schema("Contest"), contest)), **missing})},
        "/v1/contests/{contest}/standings": one | {"get": _call("getStandings", "results", "The standings", {
            "200": _answer("Most votes first; equal votes share a place.", _json(_schema("Standings"), standings)),
            **missing, **away})},
        "/v1/contests/{contest}/standings/stream": one | {"get": _stream()},
        "/v1/contests/{contest}/records": one | {"get": _call("listRecords", "results", "The latest votes", {
            "200": _answer("Newest first.", _json(_schema("Records"), records)),
            **missing, **_problems("invalid"), **away},
            parameters=[_ref("parameters", "limit")])},
        "/latest-records": {"get": _call("latestRecords", "results", "The latest votes of the default contest", {
            "200": _answer("The last 20, newest first.", _json(_list(_schema("Record"), maxItems=20), [record])),
            **away}, description="The older address.")},
        "/v1/votes/{id}": {"parameters": [_ref("parameters", "id")], "get": _call("getVote", "votes", "One vote", {
            "200": _answer("The vote, and where it lies in the log.", _json(_schema("ArchivedVote"), archived)),
            **_problems("no-vote"), **away})},
    }  # fmt: skip


def _stream() -> Json:
    data = '{"contest":"bandas-gt","total":0,"standings":[],"as_of":"2026-11-01T18:00:00.000Z"}'
    events = {"schema": {"type": "string"}, "example": f"event: standings\ndata: {data}\n\n: alive\n\n"}
    return _call(
        "streamStandings", "results", "The standings as they change",
        {
            "200": _answer("Server-sent events.", {"text/event-stream": events}),
            **_problems("no-contest", "unavailable"),
        },
        description=(
            "Server-sent events named `standings`, whose data is a `Standings` object: one at once, then on change "
            "only, at most five a second; a comment every 15 s. It does not end by itself."
        ),
    )  # fmt: skip


# Operation and pages.


def _operation() -> Json:
    text = {"text/plain": {"schema": {"type": "string"}}}
    state = _json({"type": "object"})
    return {
        "/healthz": {"get": _call("alive", "operation", "Is it alive?", {"200": _answer("It is.", state)})},
        "/readyz": {"get": _call("ready", "operation", "Can it do its job now?", {
            "200": _answer("It can.", state), **_problems("unavailable")})},
        "/metrics": {"get": _call("metrics", "operation", "Metrics for Prometheus", {
            "200": _answer("The metrics.", text)})},
        "/openapi.json": {"get": _call("openapi", "operation", "This document", {
            "200": _answer("The document.", _json({"type": "object"}))})},
    }  # fmt: skip


def _pages() -> Json:
    pages = {
        "/": ("boardPage", "The live board"),
        "/vote": ("ballotPage", "The ballot"),
        "/records": ("recordsPage", "The latest votes"),
        "/docs": ("docsPage", "This document, to read and to try"),
    }
    html = {"text/html": {"schema": {"type": "string"}}}
    parameters = [_ref("parameters", "shown-contest"), _ref("parameters", "lang")]
    return {
        path: {"get": _call(operation, "pages", summary, {
            "200": _answer("The page.", html), **_problems("no-contest")}, parameters=parameters)}
        for path, (operation, summary) in pages.items()
    }  # fmt: skip


# Components.


def _object(required: Json, **more: Any) -> Json:
    return {"type": "object", "required": list(required), "properties": required, **more}


def _list(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


def _integer(low: int = 0, high: int | None = None) -> Json:
    return {"type": "integer", "minimum": low} | ({} if high is None else {"maximum": high})


_ID: Final[Json] = {"type": "string", "format": "uuid", "examples": [_UUID]}
_CONTEST_ID: Final[Json] = {"type": "string", "pattern": f"^{ID.pattern}$", "maxLength": 64, "examples": ["bandas-gt"]}


def _schemas() -> Json:
    shown = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    year, rank = _integer(*YEARS), _integer(0, 1000)
    vote = {"id": _ID, "name": shown, "album": shown, "year": year, "rank": rank, "cast_at": _INSTANT}
    return {
        "Ballot": _ballot(),
        "Receipt": _object({"id": _ID, "contest": _CONTEST_ID, "status": {"const": "recorded"}}),
        "BatchReport": _object({
            "recorded": _integer(),
            "rejected": _list(_object({"line": _integer(1), "error": {"type": "string"}})),
            "undecided": _list(_object({"line": _integer(1), "id": _ID})),
        }),
        "Contest": _contest_schema(),
        "Contests": _object({"contests": _list(_schema("Contest"))}),
        "Standings": _object({
            "contest": _CONTEST_ID, "total": _integer(), "standings": _list(_schema("Standing")), "as_of": _INSTANT,
        }),
        "Standing": _object({
            "place": _integer(1), "name": shown, "votes": _integer(1), "rank_mean": {"type": "number"},
            "albums": _list(_object({"album": shown, "votes": _integer(1)})),
        }),
        "Record": _object(vote),
        "Records": _object({"contest": _CONTEST_ID, "records": _list(_schema("Record"), maxItems=100)}),
        "ArchivedVote": _object({**vote, "contest": _CONTEST_ID, "partition": _integer(), "offset": _integer()}),
        "Problem": _problem_schema(),
    }  # fmt: skip


def _contest_schema() -> Json:
    shown = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    moment = {"oneOf": [_INSTANT, {"type": "null"}]}
    band = {"type": "object", "required": ["name"], "properties": {"name": shown, "albums": _list(shown)}}
    rank = _integer(0, 1000)
    schema = _object({
        "id": _CONTEST_ID,
        "title": _object({"es": shown, "en": shown}, description="By language."),
        "opens": moment | {"description": "Null: open from the beginning."},
        "closes": moment | {"description": "The first moment at which no vote counts any more; null: never."},
        "rank": _object({"min": rank, "max": rank}, description="The scale, both ends included."),
        "bands": _list(band),
    })  # fmt: skip
    schema["properties"]["nominations"] = {"enum": ["open", "listed"], "description": "Any band, or listed ones only."}
    return schema


def _ballot() -> Json:
    def number(low: int, high: int) -> Json:
        return {"oneOf": [_integer(low, high), {"type": "string", "pattern": "^[0-9]{1,9}$"}]}

    name = {
        "type": "string",
        "minLength": 1,
        "description": f"1 to {MAX_NAME} characters after Unicode NFC and trimming.",
    }
    return _object({
        "name": name | {"examples": ["Marimba Eléctrica"]},
        "album": name | {"examples": ["Sub"]},
        "year": number(*YEARS) | {"description": f"{YEARS[0]} to {YEARS[1]}, as a number or a string of digits."},
        "rank": number(0, 1000) | {"description": "Within the contest's scale, as a number or a string of digits."},
    })  # fmt: skip


def _problem_schema() -> Json:
    text = {"type": "string"}
    schema = _object({"title": text, "status": _integer(400, 599)}, description="RFC 9457.")
    schema["properties"] |= {
        "type": {"type": "string", "format": "uri-reference"},
        "instance": {"type": "string", "format": "uri-reference"},
        "detail": text,
        "id": {"type": "string", "description": "The id of the vote that is undecided."},
        "errors": _list(_object({"field": text, "message": text})),
    }
    return schema


def _parameters() -> Json:
    key: Json = {"type": "string", "pattern": "^[!-~]{16,128}$", "examples": ["4f0f3f0e-6c53-4b5e-8f0a-0c7f3a9c1d2e"]}
    return {
        "contest": {"name": "contest", "in": "path", "required": True, "schema": _CONTEST_ID, "example": "bandas-gt"},
        "id": {"name": "id", "in": "path", "required": True, "schema": _ID, "description": "Of the receipt."},
        "key": {"name": "Idempotency-Key", "in": "header", "schema": key,
                "description": "The same key in the same contest is the same vote, however often it is sent."},
        "limit": {"name": "limit", "in": "query", "schema": _integer(1, 100) | {"default": 20}},
        "shown-contest": {"name": "contest", "in": "query", "schema": _CONTEST_ID,
                          "description": "Default: the default contest."},
        "lang": {"name": "lang", "in": "query", "schema": {"enum": ["es", "en"]},
                 "description": "Default: by Accept-Language, else es."},
    }  # fmt: skip


def _headers() -> Json:
    return {
        "request-id": {"description": "Names this answer in the logs.", "schema": {"type": "string"}},
        "retry-after": {"description": "Seconds to wait.", "schema": _integer(0)},
    }


_PROBLEMS: Final[dict[str, tuple[int, str, Json]]] = {
    "malformed": (400, "The body is not JSON.", {}),
    "token": (401, "The voter token is missing, or is not one.", {}),
    "no-contest": (404, "There is no such contest.", {}),
    "no-vote": (404, "No vote of this id has been archived.", {}),
    "not-open": (409, "The contest is not open.", {}),
    "too-large": (413, "Over 16 KiB, or 4 MiB or 10,000 lines for a batch.", {}),
    "wrong-type": (415, "Another Content-Type than application/json or application/x-ndjson.", {}),
    "invalid": (422, "A field, a parameter or the Idempotency-Key is wrong.", {
        "errors": [{"field": "rank", "message": "must be 1 to 10"}]}),
    "too-many": (429, "Too many votes at once; only where a limit is set.", {}),
    "not-recorded": (503, "The vote was certainly not recorded.", {}),
    "unavailable": (503, "A server that is needed is away.", {}),
    "undecided": (504, "The vote may or may not have been recorded; try again with the same key.", {"id": _KEYED}),
}  # fmt: skip


def _responses() -> Json:
    return {name: _problem(*problem) for name, problem in _PROBLEMS.items()}


def _problem(code: int, description: str, extra: Json) -> Json:
    example = {"type": "about:blank", "title": description.rstrip("."), "status": code, **extra}
    retry = {"Retry-After": _ref("headers", "retry-after")} if code in (429, 503, 504) else {}
    content = {_PROBLEM: {"schema": _schema("Problem"), "example": example}}
    return _answer(description, content, **retry)
