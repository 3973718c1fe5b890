"""Settings: a closed list, read once, each value's source told."""

from pathlib import Path

import pytest

from aplauso import settings as settings_module
from aplauso.domain.errors import Misconfigured
from aplauso.settings import PREFIX, Settings, describe, load


def test_without_anything_the_defaults_hold() -> None:
    """No environment and no file give the defaults; names of others are nobody's business."""
    loaded = load({"PATH": "/bin", "APLAUDE_DATA": "x"}, None)
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_values_are_converted_to_their_kinds() -> None:
    """Text from the environment becomes a number, a path, or one of a list of words."""
    loaded = load(
        {"APLAUSO_DATA": "/srv/x", "APLAUSO_BATCH_WAIT_MS": "1.5", "APLAUSO_MAX_WAITING": "256",
         "APLAUSO_LOG_LEVEL": "error", "APLAUSO_CONTESTS": "c", "APLAUSO_DEFAULT_CONTEST": "123"},
        None,
    )  # fmt: skip
    found = loaded.settings
    assert (found.data, found.contests) == (Path("/srv/x"), Path("c"))
    assert (found.batch_wait_ms, found.max_waiting, found.log_level) == (1.5, 256, "error")
    assert found.default_contest == "123"
    assert loaded.sources["data"] == "environment"
    assert loaded.sources["host"] == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_WAIT_MS", "3.1"), ("BATCH_WAIT_MS", "-1"), ("BATCH_WAIT_MS", "soon"), ("BATCH_FLIGHTS", "0"),
        ("BATCH_FLIGHTS", "1.5"), ("MAX_WAITING", "255"), ("LOG_LEVEL", "loud"), ("REJECTED_SHARE", "0"),
        ("REJECTED_SHARE", "1.01"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_named(name: str, value: str) -> None:
    """A value that is not of its setting's kind, or out of range, is refused by the setting's name."""
    with pytest.raises(Misconfigured, match=f"^{PREFIX}{name}: "):
        load({PREFIX + name: value}, None)


def test_a_misspelt_name_is_not_ignored() -> None:
    """An unknown name is an error that says which one is close."""
    with pytest.raises(Misconfigured, match="did you mean APLAUSO_DATA"):
        load({"APLAUSO_DATTA": "x"}, None)
    with pytest.raises(Misconfigured, match="`aplauso settings` lists them"):
        load({"APLAUSO_ZZZZZZZZ": "x"}, None)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A `.env` file gives what the environment does not, without expanding anything in it."""
    file = tmp_path / ".env"
    file.write_text("APLAUSO_URL='http://a/$HOME'\nAPLAUSO_HOST=0.0.0.0\nOTHER=1\nAPLAUSO_DATA\n", encoding="utf-8")
    loaded = load({"APLAUSO_HOST": "127.0.0.2"}, file)
    assert (loaded.settings.url, loaded.settings.host) == ("http://a/$HOME", "127.0.0.2")
    assert (loaded.sources["url"], loaded.sources["host"]) == (str(file), "environment")
    assert load({}, tmp_path / "missing").settings == Settings()


def test_an_empty_value_is_as_if_it_were_not_set(tmp_path: Path) -> None:
    """Compose files write empty values for what is not given: they are the default."""
    loaded = load({"APLAUSO_DATA": "", "APLAUSO_BATCH_FLIGHTS": "", "APLAUSO_URL_FILE": ""}, None)
    assert loaded.settings == Settings()
    assert loaded.sources["data"] == "default"
    file = tmp_path / "url"
    file.write_text("http://x", encoding="utf-8")
    assert load({"APLAUSO_URL": "", "APLAUSO_URL_FILE": str(file)}, None).settings.url == "http://x"


def test_a_value_may_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    """`NAME_FILE` names a file that holds the value; the line feed at its end is not part of it."""
    file = tmp_path / "url"
    file.write_text("http://from-file\n", encoding="utf-8")
    loaded = load({"APLAUSO_URL_FILE": str(file)}, None)
    assert loaded.settings.url == "http://from-file"
    assert loaded.sources["url"] == str(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, or one that is not text, is refused by the name of the setting."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    for name in ("missing", "bytes"):
        with pytest.raises(Misconfigured, match="APLAUSO_URL_FILE names a file that cannot be read"):
            load({"APLAUSO_URL_FILE": str(tmp_path / name)}, None)


def test_a_value_and_a_file_for_it_contradict_each_other(tmp_path: Path) -> None:
    """Who gives a value twice has to say which one is meant."""
    (tmp_path / "url").write_text("x", encoding="utf-8")
    with pytest.raises(Misconfigured, match="keep one"):
        load({"APLAUSO_URL": "y", "APLAUSO_URL_FILE": str(tmp_path / "url")}, None)


def test_origins_are_told_apart_by_commas() -> None:
    """Origins are written in one line, with or without spaces."""
    assert Settings(allowed_origins=" https://a, https://b ,,").origins == ("https://a", "https://b")
    assert Settings().origins == ()


def test_all_settings_are_described_with_their_source() -> None:
    """Each setting is listed with its value, its meaning and where the value came from."""
    described = {line.name: line for line in describe(load({"APLAUSO_HOST": "127.0.0.9"}, None))}
    assert list(described) == [PREFIX + field.upper() for field in Settings.__struct_fields__]
    assert described["APLAUSO_HOST"][1:3] == ("127.0.0.9", "environment")
    assert described["APLAUSO_CONTESTS"].value == ""
    assert all(line.meaning for line in described.values())


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret's value is never among the descriptions, only whether there is one."""
    monkeypatch.setattr(settings_module, "SECRETS", frozenset({"url", "gateway_url"}))
    shown = {line.name: line.value for line in describe(load({"APLAUSO_URL": "hush"}, None))}
    assert shown["APLAUSO_URL"] == "********"
    assert shown["APLAUSO_GATEWAY_URL"] == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"GRPC_CERTIFICATE": "c"}, "APLAUSO_GRPC_KEY go together"),
        ({"KAFKA_KEY": "k"}, "APLAUSO_KAFKA_KEY go together"),
        ({"REDIS_KEY": "k"}, "APLAUSO_REDIS_KEY go together"),
        ({"KAFKA_USERNAME": "u"}, "APLAUSO_KAFKA_PASSWORD go together"),
        ({"KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "p"}, "with SASL"),
        ({"KAFKA_SECURITY": "SASL_SSL"}, "with SASL"),
        ({"KAFKA_CA": "c"}, "APLAUSO_KAFKA_CA needs"),
        ({"REDIS_CA": "c"}, "begin with rediss://"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, str], says: str) -> None:
    """Half of a pair, or a login without a protocol for it, is refused by name."""
    with pytest.raises(Misconfigured, match=says):
        load({PREFIX + name: value for name, value in given.items()}, None)


@pytest.mark.parametrize("password", ["secret", "sec/ret", "se@cret", "s/e@cret"])
def test_addresses_are_shown_without_what_logs_in(password: str) -> None:
    """An address stays readable, and nothing of its user and password is shown, well escaped or not."""
    given = {"APLAUSO_MONGO_URI": f"mongodb://user:{password}@db:27017/x", "APLAUSO_REDIS_URL": "redis://cache:6379"}
    shown = {line.name: line.value for line in describe(load(given, None))}
    assert shown["APLAUSO_MONGO_URI"] == "mongodb://********@db:27017/x"
    assert shown["APLAUSO_REDIS_URL"] == "redis://cache:6379"
