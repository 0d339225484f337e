import math

import numpy as np
import pytest

from linkjax.report import numbers


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "–"),
        (float("nan"), "byte", "–"),
        (np.float32("nan"), "", "–"),
        ("text", "", "–"),
        (float("inf"), "", "∞"),
        (-float("inf"), "", "−∞"),
        (0, "", "0"),
        (0.0, "", "0"),
        (2048, "", "2048"),
        (12345678, "", "12\u202f345\u202f678"),
        (23512.7, "", "23\u202f513"),
        (0.93, "", "0.930"),
        (-0.5, "", "−0.500"),
        (12.345, "byte", "12.3\u00a0byte"),
        (99.96, "", "100"),
        (1.5e9, "", "1.50 × 10⁹"),
        (-0.0000123, "", "−1.23 × 10⁻⁵"),
        (0.932, "share", "93.2\u00a0%"),
        (np.int32(7), "", "7"),
        (True, "", "yes"),
    ],
)
def test_a_number_is_shown_to_three_digits_with_its_unit(value, unit, text):
    assert numbers.number(value, unit) == text


def test_a_share_is_never_rounded_to_none_or_all():
    assert numbers.percent(1.0) == "100\u00a0%"
    assert numbers.percent(0.0) == "0\u00a0%"
    assert numbers.percent(0.9996) == "99.96\u00a0%"
    assert numbers.percent(0.0001) == "0.01\u00a0%"
    assert numbers.percent(math.nan) == "–"


def test_an_error_sets_the_digits_of_its_number():
    assert numbers.with_error(0.97123, 0.01834) == "0.971 ± 0.018"
    assert numbers.with_error(-12.3, 4.0, "byte") == "−12.3 ± 4.0\u00a0byte"
    assert numbers.with_error(123.4, 40.0) == "123 ± 40"
    assert numbers.with_error(0.5, math.nan) == "0.500"
    assert numbers.with_error(math.nan, 0.1) == "–"


def test_settings_are_shown_as_they_are_and_long_lists_cut():
    assert numbers.plain(None) == numbers.plain([]) == "–"
    assert numbers.plain([1, 2.5, "x"]) == "1, 2.5, x"
    assert numbers.plain(list(range(1000))).endswith("… (1000 in all)")


def test_wilsons_interval_agrees_with_its_textbook_values():
    # Newcombe 1998, table I, method 3
    for successes, tried, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = numbers.wilson(successes, tried)
        assert max(abs(found[0] - low), abs(found[1] - high)) < 5e-5
    assert all(map(math.isnan, numbers.wilson(0, 0)))
