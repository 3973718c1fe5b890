"""Errors as RFC 9457 problem documents."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from aplauso.domain.errors import (
    AplausoError,
    FieldError,
    InvalidVote,
    MalformedBody,
    NotOpen,
    NotRecorded,
    Unavailable,
    Undecided,
    UnknownContest,
)
from aplauso.web.http import HTTPError, Response

RETRY_SECONDS: Final = "1"
"""What Retry-After says: a collector or a log that was away is back within moments."""
_STATUS: Final[dict[type[AplausoError], int]] = {
    MalformedBody: 400,
    UnknownContest: 404,
    NotOpen: 409,
    InvalidVote: 422,
    NotRecorded: 503,
    Unavailable: 503,
    Undecided: 504,
}
_TITLES: Final = {
    409: "The contest is not open",
    422: "A field is wrong",
    503: "Not recorded, try later",
    504: "Undecided, try again with the same key",
}


def status_of(error: AplausoError) -> int:
    """The status that an error is answered with."""
    return error.status if isinstance(error, HTTPError) else _STATUS.get(type(error), 500)


def problem(error: AplausoError, request_id: str) -> Response:
    """The answer that an error stands for."""
    status = status_of(error)
    fields = error.errors if isinstance(error, InvalidVote) else ()
    headers: list[tuple[str, str]] = list(error.headers) if isinstance(error, HTTPError) else []
    if status in (503, 504):
        headers.append(("retry-after", RETRY_SECONDS))
    extra = {"id": error.id} if isinstance(error, Undecided) else {}
    return document(status, error.reason, str(error), request_id, headers, fields=fields, extra=extra)


def document(
    status: int,
    reason: str,
    detail: str,
    request_id: str,
    headers: list[tuple[str, str]] | None = None,
    *,
    fields: tuple[FieldError, ...] = (),
    extra: dict[str, Any] | None = None,
) -> Response:
    """A problem document.

    Args:
        status: the HTTP status.
        reason: a word that programs can tell cases apart by.
        detail: what is wrong, for a person.
        request_id: as in the logs.
        headers: in addition to the content type.
        fields: the fields at fault.
        extra: further members.
    """
    body: dict[str, Any] = {
        "type": f"urn:aplauso:problem:{reason}",
        "title": _TITLES.get(status, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "instance": f"urn:aplauso:request:{request_id}",
    }
    if fields:
        body["errors"] = [{"field": error.field, "message": error.message} for error in fields]
    body.update(extra or {})
    every = [("content-type", "application/problem+json"), ("x-request-id", request_id), *(headers or ())]
    return Response(status, every, msgspec.json.encode(body))
