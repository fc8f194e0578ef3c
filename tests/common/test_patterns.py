import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.patterns import MAX_TEXT, UnsafePattern, check_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        r"^(?=.*[1-9])\d{1,4}(\.\d{1,4})?$",
        r"^[A-Z]{3}$",
        r"^(EUR|USD|GBP)$",
        r"^https://[a-z.]+/",
        r"^(ab)*$",
        r"^[^]a-z]+x{2,5}?$",
        r"^#[0-9a-fA-F]{6}$",
        r"a{b",
    ],
)
def test_takes_patterns_that_settings_use(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(a|a)*$",
        r"((ab?)c)*",
        r"(\w+\s?)*$",
        r"a*a*a*a*a*b",
        r"(a)\1",
        r"(?P<name>a)",
        r"(?i)a",
        r"(?<=a)b",
        "(",
        "a" * 201,
        r"(((a?){9}){9}){9}",
        "[[a]",
        "[a||b]",
    ],
)
def test_refuses_patterns_that_may_take_long_or_are_none(pattern: str) -> None:
    with pytest.raises(UnsafePattern):
        check_pattern(pattern)


@given(st.text(alphabet="ab|()*+?{},12[]^\\.d", max_size=14))
@settings(deadline=None)
def test_whatever_is_taken_is_quick(pattern: str) -> None:
    try:
        check_pattern(pattern)
    except UnsafePattern:
        return
    began = time.perf_counter()
    for text in ("a" * MAX_TEXT, "ab" * (MAX_TEXT // 2), "1" * MAX_TEXT):
        re.search(pattern, text + "!")
    assert time.perf_counter() - began < 2
