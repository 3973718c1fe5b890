"""Every connection of a stack secured by settings alone, and what is said when a credential is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import serialization

import certs
from aplauso.stack import kafka, mongo, redis
from aplauso.stack.process import Process
from embedded import wait_until
from servers_redis import binary
from stack_world import Client, World

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(150)]
USER: Final = "voter"
PASSWORD: Final = "una-clave:con/signos@y?más"
KAFKA_PASSWORD: Final = "una-clave-de-prueba"


class Secured(World):
    """A stack whose servers let nobody in without a certificate's trust and a password."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.ours, self.foreign = certs.make(home / "ours"), certs.make(home / "foreign")
        data, ours = self.stack.data, self.ours
        keystore = home / "broker.pem"
        loaded = serialization.load_pem_private_key(ours.server_key.read_bytes(), None)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        keystore.write_bytes(loaded.private_bytes(*form) + ours.server.read_bytes())
        self.stack.kafka = kafka.Kafka(
            data / "kafka", log=home / "kafka.log", users={USER: KAFKA_PASSWORD}, tls=kafka.Tls(keystore), heap_mb=256
        )
        self.stack.redis = redis.RedisServer(
            data / "redis", binary=binary("redis-7"), user=USER, password=KAFKA_PASSWORD,
            tls=redis.Tls(ours.server, ours.server_key, ours.ca),
        )  # fmt: skip
        self.stack.mongo = mongo.MongoServer(
            data / "mongo", home / "mongo.log", login=mongo.Login(USER, PASSWORD),
            tls=mongo.Tls(ours.server, ours.server_key, ours.ca),
        )  # fmt: skip
        secret = home / "password"
        secret.write_text(KAFKA_PASSWORD + "\n", "utf-8")
        self.settings = {
            "KAFKA_BOOTSTRAP": self.stack.kafka.address("SASL_SSL"), "KAFKA_SECURITY": "SASL_SSL",
            "KAFKA_USERNAME": USER, "KAFKA_PASSWORD_FILE": str(secret), "KAFKA_CA": str(ours.ca),
            "REDIS_URL": f"rediss://127.0.0.1:{self.stack.redis.port}", "REDIS_USERNAME": USER,
            "REDIS_PASSWORD_FILE": str(secret), "REDIS_CA": str(ours.ca),
            "REDIS_CERTIFICATE": str(ours.client), "REDIS_KEY": str(ours.client_key),
            "MONGO_URI": self.stack.mongo.uri,
        }  # fmt: skip
        environment = self.stack._environment
        for name in ("APLAUSO_REDIS_URL_FILE", "APLAUSO_MONGO_URI_FILE"):
            del environment[name]
        environment.update({f"APLAUSO_{name}": value for name, value in self.settings.items()})
        self.rooms = self.stack._make_rooms()
        self.gateway_tls = {
            "GRPC_CA": str(ours.ca), "GRPC_CERTIFICATE": str(ours.client), "GRPC_KEY": str(ours.client_key),
        }  # fmt: skip
        collector_tls = {
            "GRPC_CERTIFICATE": str(ours.server), "GRPC_KEY": str(ours.server_key), "GRPC_CLIENT_CA": str(ours.ca),
        }  # fmt: skip
        for room, given in (("gateway", self.gateway_tls), ("collector", collector_tls)):
            self.rooms[room]._env.update({f"APLAUSO_{name}": value for name, value in given.items()})

    def other(self, name: str, label: str, **changed: str) -> tuple[Process, int]:
        """A room with some settings changed; an empty one is as if it were not set."""
        given = {**(self.gateway_tls if name == "gateway" else {}), **changed}
        return self.room(name, label, **given)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    world = Secured(tmp_path_factory.mktemp("secured"))
    try:
        world.start()
        yield world
    finally:
        world.close()


def test_right_credentials(secured: Secured) -> None:
    """With the right credentials every room works over secured connections, and so do doctor and recount."""
    contest = secured.contest()
    answer = secured.vote(contest)
    assert answer.status == 201, answer
    secured.wait_total(contest, 1)
    secured.wait_rest()
    ended = secured.aplauso("doctor", **secured.gateway_tls)
    assert ended.code == 0, ended
    assert KAFKA_PASSWORD not in ended.out
    assert secured.aplauso("rejected").code == 0


SAID = {
    "a wrong password of Kafka": (
        "kafka", {"KAFKA_PASSWORD_FILE": "", "KAFKA_PASSWORD": "wrong"}, "uthentication failed",
    ),
    "a wrong CA of Kafka": ("kafka", {"KAFKA_CA": "foreign"}, "certificate"),
    "a wrong password of Redis": (
        "redis", {"REDIS_PASSWORD_FILE": "", "REDIS_PASSWORD": "wrong"}, "demands a user and a password",
    ),
    "a wrong CA of Redis": ("redis", {"REDIS_CA": "foreign"}, "certificate"),
    "a wrong password of MongoDB": ("mongo", {"MONGO_URI": "wrong"}, "does not take the user and password"),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_wrong_credentials(secured: Secured, case: str) -> None:
    """Doctor exits 1 and says of the part with the wrong credential, and of that one, what is wrong with it."""
    part, changed, said = SAID[case]
    given = {name: changed_value(secured, name, value) for name, value in changed.items()}
    ended = secured.aplauso("doctor", **{**secured.gateway_tls, **given})
    assert ended.code == 1
    lines = {line.split()[1].rstrip(":"): line for line in ended.out.splitlines()}
    assert lines[part].startswith("WRONG")
    assert said in lines[part], lines[part]
    assert KAFKA_PASSWORD not in ended.out + ended.err
    for other in {"kafka", "redis", "mongo"} - {part}:
        assert lines[other].startswith("ok"), lines[other]


def changed_value(secured: Secured, name: str, value: str) -> str:
    if value == "foreign":
        return str(secured.foreign.ca)
    if name == "MONGO_URI":
        return secured.stack.mongo.uri.replace(USER, "nobody", 1)
    return value


ROOMS = {
    "collector": ({"KAFKA_PASSWORD_FILE": "", "KAFKA_PASSWORD": "wrong"}, "uthentication failed"),
    "tally": ({"REDIS_PASSWORD_FILE": "", "REDIS_PASSWORD": "wrong"}, "denies these"),
    "archive": ({"MONGO_URI": "wrong"}, "does not take the user and password"),
    "board": ({"REDIS_PASSWORD_FILE": "", "REDIS_PASSWORD": "wrong"}, "denies these"),
}


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_say_what_is_wrong(secured: Secured, name: str) -> None:
    """A room with a wrong password goes on trying, is not ready, and says at `/readyz` and in its log what is wrong."""
    changed, said = ROOMS[name]
    given = {field: changed_value(secured, field, value) for field, value in changed.items()}
    room, port = secured.other(name, f"{name}-wrong", **given)
    room.spawn()
    try:
        client = Client(port)
        wait_until(lambda: said in client.get("/readyz").body.decode(), f"{name} to say it: {room.tail()}", 20)
        assert client.get("/readyz").status == 503
        if name != "board":
            wait_until(lambda: said in room.log.read_text("utf-8"), "the log to say it", 10)
        assert room.running
    finally:
        room.kill()


WRONG_GATEWAYS = {
    "token": ({"GATEWAY_TOKEN_FILE": "", "GATEWAY_TOKEN": "wrong"}, "the token is not one of a gateway"),
    "no certificate": ({"GRPC_CERTIFICATE": "", "GRPC_KEY": ""}, "UNAVAILABLE"),
    "no TLS": ({"GRPC_CERTIFICATE": "", "GRPC_KEY": "", "GRPC_CA": ""}, "UNAVAILABLE"),
    "another CA": ({"GRPC_CA": "foreign"}, "CERTIFICATE_VERIFY_FAILED"),
}


@pytest.mark.parametrize("case", WRONG_GATEWAYS)
def test_wrong_gateways(secured: Secured, case: str) -> None:
    """A gateway without the right token or certificates records nothing and answers 503; doctor says what is wrong."""
    contest = secured.contest()
    changed, said = WRONG_GATEWAYS[case]
    given = {name: changed_value(secured, name, value) for name, value in changed.items()}
    room, port = secured.other("gateway", f"gateway-{case.replace(' ', '-')}", **given)
    room.spawn()
    try:
        client = Client(port)
        wait_until(lambda: client.get("/healthz").status == 200, "the gateway", 20)
        answer = client.vote(contest)
        assert answer.status == 503, answer
        assert secured.total(contest) == 0
    finally:
        room.kill()
    ended = secured.aplauso("doctor", **{**secured.gateway_tls, **given})
    assert ended.code == 1
    [line] = [line for line in ended.out.splitlines() if line.startswith("WRONG collectors")]
    assert said in line
