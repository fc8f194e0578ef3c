"""Sealing: only with the right key, only in the right place."""

from dataclasses import replace
from typing import Any

import pytest

from services.common.secret_settings import SecretKeys, SecretPlace, SecretUnreadable, UnusableKeys, new_key

PLACE = SecretPlace("acme", "erp", "i-1", "apiKey")
SECRET = "sk-live-2718281828"


def test_what_was_sealed_is_opened_and_looks_different_each_time() -> None:
    keys = SecretKeys.parse(new_key())
    first, second = keys.seal(SECRET, PLACE), keys.seal(SECRET, PLACE)
    assert keys.open(first, PLACE) == keys.open(second, PLACE) == SECRET
    assert first != second
    assert SECRET not in str(first)


@pytest.mark.parametrize(
    "elsewhere",
    [{"organization": "globex"}, {"plugin_id": "shop"}, {"installation_id": "i-2"}, {"name": "password"}],
)
def test_a_copy_cannot_be_opened_in_another_place(elsewhere: dict[str, str]) -> None:
    keys = SecretKeys.parse(new_key())
    with pytest.raises(SecretUnreadable, match="another installation or setting"):
        keys.open(keys.seal(SECRET, PLACE), replace(PLACE, **elsewhere))


def test_the_first_key_seals_and_each_opens() -> None:
    old, new = new_key(), new_key()
    before, after = SecretKeys.parse(old), SecretKeys.parse(f"{new}, {old}")
    sealed = before.seal(SECRET, PLACE)
    assert after.open(sealed, PLACE) == SECRET
    assert not after.is_current(sealed)
    assert after.is_current(after.seal(SECRET, PLACE))
    with pytest.raises(SecretUnreadable, match="none of OUTLET_SECRET_KEYS"):
        before.open(after.seal(SECRET, PLACE), PLACE)


def damaged() -> list[Any]:
    sealed = SecretKeys.parse("A" * 43).seal(SECRET, PLACE)["sealed"]
    version, key_id, data = sealed.split(".")
    return [
        {"sealed": f"{version}.{key_id}.{'A' if data[0] != 'A' else 'B'}{data[1:]}"},
        {"sealed": f"{version}.{key_id}."},
        {"sealed": f"{version}.{key_id}.A"},
        {"sealed": f"2.{key_id}.{data}"},
        {"sealed": f"{version}.{key_id}.\N{SNOWMAN}"},
        {"sealed": 1},
        {"sealed": sealed, "more": 1},
        SECRET,
        None,
    ]


@pytest.mark.parametrize("stored", damaged())
def test_what_is_damaged_is_refused(stored: Any) -> None:
    with pytest.raises(SecretUnreadable):
        SecretKeys.parse("A" * 43).open(stored, PLACE)


@pytest.mark.parametrize("text", ["", "short", "A" * 42, "A" * 44, f"{'A' * 43},", "\N{SNOWMAN}" * 43])
def test_keys_that_are_none_are_refused_without_being_told(text: str) -> None:
    with pytest.raises(UnusableKeys) as refused:
        SecretKeys.parse(text)
    assert not text or text not in str(refused.value)
