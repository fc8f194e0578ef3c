"""The gap between asking the ledger which keys wait and acting on its answer."""

from services.runtime.delivery.waiting_keys import LONGEST_QUESTION_SECONDS, WaitingKeys

KEY = ("i-1", b"acme/s1/1")


def test_a_key_that_begins_to_wait_after_the_question_is_known_until_an_answer_can_tell() -> None:
    now = 10.0
    keys = WaitingKeys(lambda: now)
    asked = keys.now()
    keys.adding([KEY])
    assert keys.unknown_at(KEY, asked)
    now = 11.0
    assert keys.unknown_at(KEY, keys.now())  # not written down yet
    keys.added([KEY])
    assert keys.unknown_at(KEY, asked)
    now = 12.0
    assert not keys.unknown_at(KEY, keys.now())


def test_a_key_that_is_added_twice_at_a_time_is_known_once_both_are() -> None:
    now = 10.0
    keys = WaitingKeys(lambda: now)
    keys.adding([KEY])
    keys.adding([KEY])
    keys.added([KEY])
    now = 11.0
    assert keys.unknown_at(KEY, keys.now())
    keys.added([KEY])
    now = 12.0
    assert not keys.unknown_at(KEY, keys.now())


def test_installations_that_wait_are_those_the_ledger_named_and_those_that_came_since() -> None:
    now = 10.0
    keys = WaitingKeys(lambda: now)
    keys.slow.add("i-0")
    asked = keys.now()
    keys.adding([KEY])
    keys.heard({"i-0", "i-2"}, asked)
    assert keys.installations == {"i-0", "i-1", "i-2"}
    keys.added([KEY])
    now = 20.0
    keys.heard(set(), keys.now())
    assert (keys.installations, keys.slow) == (set(), set())


def test_what_nobody_can_still_be_asking_about_is_forgotten() -> None:
    now = 0.0
    keys = WaitingKeys(lambda: now)
    for number in range(1_000):
        key = ("i-1", str(number).encode())
        keys.adding([key])
        keys.added([key])
    now = LONGEST_QUESTION_SECONDS + 1
    keys.heard(set(), keys.now())
    assert not keys._since
    assert not keys._adding
