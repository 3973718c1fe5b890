"""Who is a gateway: whoever shows the token or a client certificate."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final

from grpc.aio import ServicerContext

from aplauso.adapters.grpc.wire import ROLE
from aplauso.domain.errors import Misconfigured

_SCHEME: Final = "bearer "


class Guard:
    """Tells gateways, whose ids and stamps count, from everybody else.

    Where tokens are configured, a token makes the gateway, and certificates only protect the connection.
    Without tokens, a client certificate makes it. Without either, nobody is a gateway, unless all are trusted.

    Args:
        tokens: any of them is right; several make changing them possible without a stop.
        certificates: whether the server demands client certificates (gRPC has verified them by then).
        trust_all: everybody who reaches the port is a gateway.

    Raises:
        Misconfigured: a token is empty, or everybody is trusted although there are tokens.
    """

    def __init__(self, tokens: Sequence[str], *, certificates: bool, trust_all: bool) -> None:
        if not all(tokens):
            raise Misconfigured("a gateway token is empty")
        if tokens and trust_all:
            raise Misconfigured("gateway tokens are configured, and everybody is trusted: choose one")
        self._tokens = [token.encode() for token in tokens]
        self._everybody = trust_all or (certificates and not tokens)

    def is_gateway(self, context: ServicerContext[Any, Any]) -> bool:
        """Whether the caller is a gateway.

        Raises:
            PermissionError: it says that it is one, or shows a token, and is not known as one.
        """
        metadata = dict(context.invocation_metadata() or ())
        shown = metadata.get("authorization")
        if self._everybody or (shown is not None and self._knows(str(shown))):
            return True
        if shown is not None:
            raise PermissionError("the token is not one of a gateway")
        if metadata.get(ROLE[0]) == ROLE[1]:
            raise PermissionError("a gateway needs a token or a client certificate here")
        return False

    def _knows(self, shown: str) -> bool:
        if not shown.lower().startswith(_SCHEME):
            return False
        token = shown[len(_SCHEME) :].encode()
        # All are compared, so that the time tells nothing about which one was close.
        return any([compare_digest(token, known) for known in self._tokens])  # noqa: C419
