"""Every setting, read once: from the environment (`APLAUSO_*`), from files named by `*_FILE`, from `.env`.

A closed list: an unknown `APLAUSO_*` name is an error, so that a misspelt one is not silently ignored.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_type_hints

import msgspec
from dotenv import dotenv_values
from msgspec import Meta

from aplauso.domain.errors import Misconfigured

PREFIX: Final = "APLAUSO_"
Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of all rooms; a room uses those that concern it."""

    data: Annotated[Path, Meta(description="directory of the embedded data")] = Path("data")
    contests: Annotated[
        Path | None, Meta(description="directory of contest files (*.toml); the example contest without it")
    ] = None
    default_contest: Annotated[
        str | None, Meta(description="contest of /insert and /latest-records; the only one without it")
    ] = None
    host: Annotated[str, Meta(description="address that HTTP listens on")] = "127.0.0.1"
    url: Annotated[str, Meta(description="gateway that `vote` and `load` talk to")] = "http://127.0.0.1:8080"
    gateway_url: Annotated[
        str, Meta(description="address of the gateway as browsers see it, when the board is another origin")
    ] = ""
    board_url: Annotated[
        str, Meta(description="board whose pages and results the gateway hands on, so that both share an address")
    ] = ""
    allowed_origins: Annotated[
        str, Meta(description="origins whose pages may vote here, separated by commas; * for all")
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe log lines that are written")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"], Meta(description="how log lines look; auto: readable on a terminal")
    ] = "auto"
    batch_wait_ms: Annotated[
        float, Meta(ge=0, le=3, description="how long a vote waits for company on its way to the collector")
    ] = 3.0
    batch_flights: Annotated[int, Meta(ge=1, le=64, description="batches on their way to the collector at once")] = 8
    max_waiting: Annotated[
        int, Meta(ge=256, le=1_000_000, description="votes that may wait for their answer; more are refused with 503")
    ] = 100_000
    rejected_share: Annotated[
        float, Meta(gt=0, le=1, description="share of rejected records above which the tally stops")
    ] = 0.5

    partitions: Annotated[
        int, Meta(ge=1, le=10_000, description="partitions of the votes' topic, fixed for its life")
    ] = 12
    collectors: Annotated[
        str, Meta(description="collectors that the gateway sends votes to: host:port, separated by commas")
    ] = "127.0.0.1:3001"
    collector_host: Annotated[str, Meta(description="address that the collector's gRPC listens on")] = "127.0.0.1"
    call_seconds: Annotated[
        float, Meta(gt=0, le=60, description="how long a vote may be on its way before it is undecided")
    ] = 10.0
    gateway_token: Annotated[
        str | None, Meta(description="secret of the gateways: only who knows it may give stamps and ids")
    ] = None
    grpc_reflection: Annotated[bool, Meta(description="whether the collector describes its services")] = False
    grpc_ca: Annotated[Path | None, Meta(description="CA that the gateway holds collectors' certificates against")] = (
        None
    )
    grpc_certificate: Annotated[Path | None, Meta(description="own certificate of the collector or the gateway")] = None
    grpc_key: Annotated[Path | None, Meta(description="key of that certificate")] = None
    grpc_client_ca: Annotated[
        Path | None, Meta(description="CA of the gateways' certificates; with it the collector demands one (mTLS)")
    ] = None
    grpc_server_name: Annotated[
        str | None, Meta(description="name in the collectors' certificates, when it is not their address")
    ] = None
    kafka_bootstrap: Annotated[
        str | None, Meta(description="Kafka's bootstrap servers, host:port,…; with it commands use the real servers")
    ] = None
    kafka_topic: Annotated[str, Meta(description="the votes' topic; the rejected ones' is named after it")] = "votes"
    kafka_create: Annotated[
        bool, Meta(description="whether the collector makes the topics when they are not there")
    ] = True
    kafka_protocol: Annotated[
        Literal["classic", "consumer"], Meta(description="how replicas share partitions (consumer: Kafka 4's own)")
    ] = "classic"
    kafka_session_seconds: Annotated[
        float, Meta(gt=0, le=300, description="silence after which a replica's partitions move (classic)")
    ] = 6.0
    kafka_security: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="how Kafka is spoken to")
    ] = "PLAINTEXT"
    kafka_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="how to log in to Kafka")
    ] = "SCRAM-SHA-512"
    kafka_username: Annotated[str | None, Meta(description="user of Kafka")] = None
    kafka_password: Annotated[str | None, Meta(description="password of Kafka")] = None
    kafka_ca: Annotated[Path | None, Meta(description="CA that Kafka's certificates are held against")] = None
    kafka_certificate: Annotated[Path | None, Meta(description="own certificate, when Kafka demands one")] = None
    kafka_key: Annotated[Path | None, Meta(description="key of that certificate")] = None
    redis_url: Annotated[str, Meta(description="Redis of the standings: redis://host:port, or rediss:// for TLS")] = (
        "redis://127.0.0.1:6379"
    )
    redis_cluster: Annotated[bool, Meta(description="whether it is a Redis Cluster")] = False
    redis_username: Annotated[str | None, Meta(description="ACL user of Redis")] = None
    redis_password: Annotated[str | None, Meta(description="password of Redis")] = None
    redis_ca: Annotated[Path | None, Meta(description="CA that Redis' certificates are held against")] = None
    redis_certificate: Annotated[Path | None, Meta(description="own certificate, when Redis demands one")] = None
    redis_key: Annotated[Path | None, Meta(description="key of that certificate")] = None
    mongo_uri: Annotated[
        str, Meta(description="MongoDB of the archive: a connection string, with user, password and TLS in it")
    ] = "mongodb://127.0.0.1:27017"
    mongo_database: Annotated[str, Meta(description="database of the archive")] = "aplauso"

    @property
    def origins(self) -> tuple[str, ...]:
        """The allowed origins, one by one."""
        return tuple(origin.strip() for origin in self.allowed_origins.split(",") if origin.strip())


class Loaded(NamedTuple):
    """Settings and where each value came from.

    Attributes:
        settings: the values.
        sources: by field: "default", "environment", ".env" or the name of a file.
    """

    settings: Settings
    sources: Mapping[str, str]


class Described(NamedTuple):
    """One setting, for people."""

    name: str
    value: str
    source: str
    meaning: str


SECRETS: Final = frozenset(("gateway_token", "kafka_password", "redis_url", "redis_password", "mongo_uri"))
"""Fields whose values are never shown."""


def load(environ: Mapping[str, str], env_file: Path | None = Path(".env")) -> Loaded:
    """Reads the settings.

    Args:
        environ: the environment; wins over the file.
        env_file: a `.env` file; passed over when it is not there.

    Raises:
        Misconfigured: a name is not known, a value is not of its kind, or two contradict each other.
    """
    given: dict[str, tuple[str, str]] = {}
    if env_file is not None and env_file.is_file():
        try:
            values = dotenv_values(env_file, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{env_file} cannot be read: {error}") from None
        given |= {name: (value or "", str(env_file)) for name, value in values.items() if name.startswith(PREFIX)}
    given |= {name: (value, "environment") for name, value in environ.items() if name.startswith(PREFIX)}
    values_by_field, sources = _resolve(given)
    settings = _convert(values_by_field)
    _check_contradictions(settings)
    return Loaded(settings, sources)


def _check_contradictions(settings: Settings) -> None:
    """Settings that only make sense together."""
    pairs = {
        "grpc_certificate": "grpc_key",
        "kafka_certificate": "kafka_key",
        "redis_certificate": "redis_key",
        "kafka_username": "kafka_password",
    }
    for one, other in pairs.items():
        if (getattr(settings, one) is None) != (getattr(settings, other) is None):
            raise Misconfigured(f"{_name(one)} and {_name(other)} go together: only one of them is set")
    if settings.kafka_security.startswith("SASL") != (settings.kafka_username is not None):
        raise Misconfigured("APLAUSO_KAFKA_SECURITY with SASL and APLAUSO_KAFKA_USERNAME go together")
    if settings.kafka_ca is not None and not settings.kafka_security.endswith("SSL"):
        raise Misconfigured("APLAUSO_KAFKA_CA needs APLAUSO_KAFKA_SECURITY to be SSL or SASL_SSL")
    if settings.redis_ca is not None and not settings.redis_url.startswith("rediss://"):
        raise Misconfigured("APLAUSO_REDIS_CA needs APLAUSO_REDIS_URL to begin with rediss://")


def _name(field: str) -> str:
    return PREFIX + field.upper()


def _resolve(given: Mapping[str, tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Values and sources by field, files read."""
    values: dict[str, str] = {}
    sources = dict.fromkeys(Settings.__struct_fields__, "default")
    _check_names(given)
    given = {name: each for name, each in given.items() if each[0]}  # compose files write empty what is not set
    for name, (value, source) in given.items():
        field = name.removeprefix(PREFIX).lower()
        if field in sources:
            if f"{name}_FILE" in given:
                raise Misconfigured(f"{name} and {name}_FILE are both set: keep one")
            values[field], sources[field] = value, source
        else:
            field = field.removesuffix("_file")
            values[field], sources[field] = _read(name, Path(value)), value
    return values, sources


def _check_names(given: Mapping[str, object]) -> None:
    for name in given:
        field = name.removeprefix(PREFIX).lower()
        if not {field, field.removesuffix("_file")} & set(Settings.__struct_fields__):
            raise Misconfigured(_unknown(name))


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{name} names a file that cannot be read: {error}") from None


def _unknown(name: str) -> str:
    known = [PREFIX + field.upper() for field in Settings.__struct_fields__]
    near = difflib.get_close_matches(name, known, 1)
    return f"{name} is not a setting" + (f": did you mean {near[0]}?" if near else "; `aplauso settings` lists them")


def _convert(values: Mapping[str, str]) -> Settings:
    hints = get_type_hints(Settings, include_extras=True)
    converted: dict[str, Any] = {}
    for field, value in values.items():
        try:
            converted[field] = msgspec.convert(value, hints[field], strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise Misconfigured(f"{PREFIX}{field.upper()}: {error}") from None
    return Settings(**converted)


def _path(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def describe(loaded: Loaded) -> list[Described]:
    """All settings with their meanings and where each value came from, secrets masked."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        Described(
            PREFIX + field.upper(),
            _shown(field, getattr(loaded.settings, field)),
            loaded.sources[field],
            next(meta.description or "" for meta in hints[field].__metadata__ if isinstance(meta, Meta)),
        )
        for field in Settings.__struct_fields__
    ]


def _shown(field: str, value: object) -> str:
    if value is None or value == "":
        return ""
    # The addresses of servers are worth seeing; what stands before the @ is not for everybody.
    if field in ("redis_url", "mongo_uri"):
        masked = re.sub(r"//.*@", "//********@", str(value))
        return re.sub(r"([?&][^=&]*(?:password|token|secret)[^=&]*=)[^&]*", r"\1********", masked, flags=re.IGNORECASE)
    return "********" if field in SECRETS else str(value)
