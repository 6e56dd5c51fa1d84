"""Settings carry secrets, and show none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.core.settings import EncryptionSettings, EndpointSettings, MasterKey, StorageSettings

HUSH = "5ec2e7" * 10 + "5ec2"
SETTINGS = StorageSettings(
    endpoints=(EndpointSettings(name="a", url="file:///a", secret_key=HUSH),),
    acknowledge=1,
    encryption=EncryptionSettings(
        masters=(MasterKey(version=1, secret=HUSH), MasterKey(version=2, secret="b" * 64)),
        current=2,
        store_secret=HUSH,
    ),
)


def changed(**encryption: Any) -> str:
    """Return the settings as JSON with a part of the encryption replaced."""
    document = json.loads(SETTINGS.to_json())
    document["encryption"] |= encryption
    return json.dumps(document)


def test_settings_read_back_as_they_were_written() -> None:
    """With keys, without them, and as documents were before there were any."""
    plain = StorageSettings(endpoints=SETTINGS.endpoints, acknowledge=1)
    old = json.loads(plain.to_json())
    del old["encryption"]

    assert StorageSettings.from_json(SETTINGS.to_json()) == SETTINGS
    assert StorageSettings.from_json(plain.to_json()) == plain
    assert StorageSettings.from_json(json.dumps(old)) == plain


def test_no_secret_is_shown() -> None:
    """Neither the endpoint's key nor the store's secret nor a master key stands in the repr."""
    assert HUSH not in repr(SETTINGS)
    assert "b" * 64 not in repr(SETTINGS)
    assert "version=2" in repr(SETTINGS)


def test_a_reader_s_settings_lack_the_store_secret_only() -> None:
    """A server can unwrap what is there; what it cannot do is make a key for a plaintext it guesses."""
    reader = SETTINGS.for_readers()

    assert reader.encryption is not None
    assert SETTINGS.encryption is not None
    assert reader.encryption.store_secret is None
    assert reader.encryption.masters == SETTINGS.encryption.masters
    assert reader.endpoints == SETTINGS.endpoints


@pytest.mark.parametrize(
    ("encryption", "message"),
    [
        ({"current": 3}, "version 3 is to be current, but the settings hold"),
        ({"masters": [{"version": 1, "secret": HUSH}, {"version": 1, "secret": "b" * 64}]}, "a key of its own"),
        ({"masters": [{"version": 1, "secret": HUSH}, {"version": 2, "secret": HUSH}]}, "a key of its own"),
        ({"masters": [{"version": 0, "secret": HUSH}]}, "whole number from 1"),
        ({"masters": [{"version": "1", "secret": HUSH}]}, "whole number from 1"),
        ({"masters": [{"version": 2, "secret": HUSH[:-1]}]}, "version 2: 64 lower-case hexadecimal digits"),
        ({"masters": [{"version": 2, "secret": HUSH.upper() + "0"}]}, "version 2: 64 lower-case hexadecimal digits"),
        ({"store_secret": HUSH + "\n"}, "store secret: 64 lower-case hexadecimal digits"),
        ({"store_secret": 7}, "store secret: 64 lower-case hexadecimal digits"),
        ({"masters": {"1": HUSH}}, "cannot be read"),
        ({"pepper": HUSH}, "cannot be read"),
    ],
)
def test_wrong_keys_are_refused_and_not_repeated(encryption: dict[str, Any], message: str) -> None:
    """The message says what is wrong and what is expected, never what was given as a secret."""
    with pytest.raises(ValueError, match=message) as caught:
        StorageSettings.from_json(changed(**encryption))

    assert HUSH[:20] not in str(caught.value)
    assert caught.value.__cause__ is None
