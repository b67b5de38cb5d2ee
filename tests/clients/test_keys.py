from __future__ import annotations

import copy
import pickle

import pytest

from ddsched_nb.clients.keys import NO_KEY, ApiKey
from ddsched_nb.errors import ConfigError

KEY = "sk-canary-0123456789"


def test_a_key_given_as_argument() -> None:
    key = ApiKey.read(f" {KEY}\n")
    assert key.header() == {"Authorization": f"Bearer {KEY}"}
    assert repr(key) == str(key) == f"{key}" == "<ApiKey from the api_key argument>"


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", KEY)
    key = ApiKey.read("env:ACME_KEY")
    assert key.header() == {"Authorization": f"Bearer {KEY}"}
    assert repr(key) == "<ApiKey from $ACME_KEY>"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    with pytest.raises(ConfigError, match="'ACME_KEY' is not set"):
        ApiKey.read("env:ACME_KEY")


def test_no_key_sends_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert ApiKey.read(None) is NO_KEY
    assert NO_KEY.header() == {}
    assert NO_KEY.scrub("text") == "text"


@pytest.mark.parametrize("bad", ["", "  ", f"{KEY}\nX-Evil: 1", f"{KEY} more", f"{KEY}\u00e9"])
def test_an_unusable_key_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(ConfigError, match="paste it again") as caught:
        ApiKey.read(bad)
    assert KEY not in str(caught.value)


def test_a_key_does_not_leave_the_process() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(ApiKey.read(KEY))
    with pytest.raises(TypeError):
        copy.copy(ApiKey.read(KEY))


def test_what_echoes_the_key_is_scrubbed() -> None:
    assert ApiKey.read(KEY).scrub(f"bad key {KEY}!") == "bad key [api key]!"
