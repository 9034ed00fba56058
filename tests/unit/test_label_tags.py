"""Label tags: every code of a shape is equally likely, and is found again however it is typed."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import product
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promocast.campaign.document import LIKELY_ALPHABET, LabelTag, PatternTag, RandomTag
from promocast.campaign.label_tags import draw, faults, fold, space, symbols

UPPER_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
CYRILLIC = "".join(map(chr, range(0x410, 0x430)))
ALPHABETS = {
    "31, without look-alikes": LIKELY_ALPHABET,
    "32, a power of two": LIKELY_ALPHABET + "0",
    "62, letters of both cases and digits": UPPER_AND_DIGITS + "abcdefghijklmnopqrstuvwxyz",
    "32 Cyrillic letters": CYRILLIC,
    "3 beyond the basic plane": "\U0001f3b0\U0001f3b2\U0001f0cf",
}
every_alphabet = pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS.keys())


class Dice:
    """Random bytes from a seed, which counts how many it gave."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.given = 0

    def __call__(self, count: int) -> bytes:
        self.given += count
        return self._random.randbytes(count)


def excess(drawn: str, alphabet: str) -> float:
    """Chi-square against equal likelihood, in standard deviations from what chance alone gives."""
    expected = len(drawn) / len(alphabet)
    counts = Counter(drawn)
    chi_square = sum((counts[symbol] - expected) ** 2 / expected for symbol in alphabet)
    freedom = len(alphabet) - 1
    return (chi_square - freedom) / sqrt(2 * freedom)


@every_alphabet
def test_every_character_is_equally_likely_in_every_place(alphabet: str) -> None:
    codes = draw(RandomTag(type="random", alphabet=alphabet, length=3), 200_000, Dice())

    for place in range(3):
        drawn = "".join(code[place] for code in codes)
        assert set(drawn) == set(alphabet)
        assert excess(drawn, alphabet) < 5


@every_alphabet
def test_what_one_place_holds_says_nothing_of_the_next(alphabet: str) -> None:
    codes = draw(RandomTag(type="random", alphabet=alphabet, length=2), 200_000, Dice())

    expected = len(codes) / len(alphabet) ** 2
    counts = Counter(codes)
    pairs = ("".join(pair) for pair in product(alphabet, repeat=2))
    chi_square = sum((counts[pair] - expected) ** 2 / expected for pair in pairs)
    freedom = len(alphabet) ** 2 - 1
    assert (chi_square - freedom) / sqrt(2 * freedom) < 5


def test_the_measure_would_catch_a_byte_modulo_the_alphabet() -> None:
    drawn = "".join(LIKELY_ALPHABET[byte % 31] for byte in Dice()(200_000))

    assert excess(drawn, LIKELY_ALPHABET) > 5


def test_the_same_bytes_make_the_same_codes() -> None:
    tag = RandomTag(type="random")

    assert draw(tag, 1_000, Dice(7)) == draw(tag, 1_000, Dice(7))
    assert draw(tag, 1_000, Dice(7)) != draw(tag, 1_000, Dice(8))


@every_alphabet
def test_hardly_more_randomness_is_taken_than_the_codes_need(alphabet: str) -> None:
    dice = Dice()

    draw(RandomTag(type="random", alphabet=alphabet, length=8), 10_000, dice)

    usable = 256 - 256 % len(alphabet)
    assert 80_000 <= dice.given <= 80_000 * 256 / usable * 1.01


def test_randomness_that_is_refused_is_asked_for_again() -> None:
    answers = iter([b"\xff" * 100, b"\xff" * 100])

    def unlucky(count: int) -> bytes:
        return next(answers, bytes(count))

    assert symbols(LIKELY_ALPHABET, 4, unlucky) == LIKELY_ALPHABET[0] * 4, "255 is above 8 * 31"


@pytest.mark.parametrize("size", [2, 31, 255, 256])
def test_every_size_of_alphabet_from_2_to_256_can_be_drawn_from(size: int) -> None:
    alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + size)))

    drawn = symbols(alphabet, size * 40, Dice())

    assert len(drawn) == size * 40
    assert set(drawn) == set(alphabet)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_as_many_codes_are_drawn_as_were_asked_for(count: int) -> None:
    codes = draw(RandomTag(type="random", length=8), count, Dice())

    assert len(codes) == count
    assert all(re.fullmatch(f"[{LIKELY_ALPHABET}]{{8}}", code) for code in codes)


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("WELCOME-####-##", r"WELCOME-[AB]{4}-[AB]{2}"),
        ("##", r"[AB]{2}"),
        ("#-tail", r"[AB]-tail"),
        ("head #", r"head [AB]"),
        ("#x#", r"[AB]x[AB]"),
    ],
)
def test_a_pattern_keeps_what_is_written_and_fills_each_place(pattern: str, shape: str) -> None:
    codes = draw(PatternTag(type="pattern", pattern=pattern, alphabet="AB"), 2_000, Dice())

    assert len(codes) == 2_000
    assert all(re.fullmatch(shape, code) for code in codes)
    assert len(set(codes)) == 2 ** pattern.count("#"), "so many draws reach all of so few"


def test_a_hash_that_was_drawn_is_no_place() -> None:
    codes = draw(PatternTag(type="pattern", pattern="#-#", alphabet="#A"), 100, Dice())

    assert set(codes) == {"#-#", "#-A", "A-#", "A-A"}


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("AB12CD", "AB12CD"),
        ("ab12cd", "AB12CD"),
        (" AB 12\tCD\r\n", "AB12CD"),
        ("AB-12-CD", "AB12CD"),
        ("AB\u201012\u2014CD", "AB12CD"),
        ("AB\u00a012\u2003CD", "AB12CD"),
        ("AB12\u00adCD", "AB12CD"),
        ("\ufeffAB12CD\u200b", "AB12CD"),
        ("\uff21\uff22\uff11\uff12\uff23\uff24", "AB12CD"),
        ("\u2460\u2461", "12"),
        ("\ufb01x", "FIX"),
        ("stra\u00dfe", "STRASSE"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442-1", "\u041f\u0420\u0418\u0412\u0415\u04221"),
        ("cafe\u0301", "CAF\u00c9"),
        ("caf\u00e9", "CAF\u00c9"),
        ("AB_12.CD", "AB_12.CD"),
        ("- -", ""),
        ("", ""),
    ],
    ids=ascii,
)
def test_a_code_is_looked_up_without_case_width_spaces_or_dashes(typed: str, folded: str) -> None:
    assert fold(typed) == folded


def test_letters_that_only_look_alike_stay_different() -> None:
    latin, cyrillic = "A", "\u0410"

    assert fold(latin) != fold(cyrillic)


AS_TYPED = st.text(st.characters(categories=["Lu", "Ll", "Nd"]) | st.sampled_from(" -\t\u2013\u00a0\u200b"))


@given(AS_TYPED)
@settings(max_examples=300, derandomize=True)
def test_what_is_folded_stays_as_it_is(typed: str) -> None:
    once = fold(typed)

    assert fold(once) == once


@given(AS_TYPED, st.sampled_from(["-", " ", "\u2014", "\u00a0"]))
@settings(max_examples=200, derandomize=True)
def test_grouping_a_code_changes_nothing(typed: str, separator: str) -> None:
    assert fold(separator.join(typed)) == fold(typed)


@given(st.text(st.characters(max_codepoint=127)))
@settings(max_examples=200, derandomize=True)
def test_the_short_way_for_ascii_leads_to_the_same_spelling(typed: str) -> None:
    the_long_way = fold(typed + "\u00c9")

    assert the_long_way == fold(typed) + "\u00c9"


@pytest.mark.parametrize(
    ("tag", "codes"),
    [
        (RandomTag(type="random", alphabet="AB", length=10), 1024),
        (RandomTag(type="random", alphabet=LIKELY_ALPHABET, length=8), 31**8),
        (RandomTag(type="random", alphabet="ABab", length=3), 8),
        (PatternTag(type="pattern", pattern="WELCOME-##", alphabet="0123456789"), 100),
    ],
    ids=["random", "the default", "both cases are one in look-up", "only places count"],
)
def test_the_space_counts_what_can_be_told_apart(tag: LabelTag, codes: int) -> None:
    assert space(tag) == codes


@pytest.mark.parametrize(
    "tag",
    [
        RandomTag(type="random"),
        RandomTag(type="random", expected_codes=31**8 // 2),
        RandomTag(type="random", alphabet="AB"),
        RandomTag(type="random", alphabet="".join(map(chr, range(0x4E00, 0x4E00 + 256)))),
        RandomTag(type="random", alphabet=CYRILLIC),
        PatternTag(type="pattern", pattern="WELCOME-####"),
    ],
    ids=["default", "as many as there is room for", "fewest", "most", "Cyrillic", "pattern"],
)
def test_a_tag_that_can_make_codes_is_without_fault(tag: LabelTag) -> None:
    assert faults(tag) == []


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        (RandomTag(type="random", alphabet="AAB"), "stands twice"),
        (RandomTag(type="random", alphabet="ABab"), "one in look-up"),
        (RandomTag(type="random", alphabet="AB-"), "one in look-up"),
        (RandomTag(type="random", alphabet="A\uff21B"), "one in look-up"),
        (RandomTag(type="random", alphabet="A"), "2 to 256 characters"),
        (RandomTag(type="random", alphabet=""), "2 to 256 characters"),
        (RandomTag(type="random", alphabet="".join(map(chr, range(0x4E00, 0x4E00 + 257)))), "2 to 256 characters"),
        (PatternTag(type="pattern", pattern="WELCOME"), "has no # to fill"),
        (RandomTag(type="random", alphabet="AB", length=4, expected_codes=9), "16 codes are possible and 9"),
    ],
    ids=["twice", "two cases", "a dash", "two widths", "one", "none", "too many", "no place", "no room"],
)
def test_a_tag_that_cannot_make_codes_says_why(tag: LabelTag, reason: str) -> None:
    [fault] = faults(tag)

    assert reason in fault


def test_room_for_twice_the_expected_codes_is_enough() -> None:
    tag = RandomTag(type="random", alphabet="AB", length=4, expected_codes=8)

    assert faults(tag) == []
