"""Label tags: where a code's characters come from, and how a code is looked up again.

Every draw is from the system's CSPRNG, each string of the shape equally likely. Uniqueness is not decided here: the
ledger's unique index does, and asks for another draw.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from promocast.campaign.document import PatternTag, RandomTag
from promocast.model import RandomBytes

PLACE: Final = "#"

# Dropped before look-up, with every other dash and space that Unicode knows.
_DROPPED_CATEGORIES: Final = frozenset({"Pd", "Zs", "Zl", "Zp", "Cc", "Cf"})
_OTHER_DASHES: Final = frozenset("\u2053\u2212")  # swung dash and minus: dashes to people
# The same for ASCII, in which nearly every code is written.
_DROPPED_ASCII: Final = {i: None for i in range(128) if unicodedata.category(chr(i)) in _DROPPED_CATEGORIES}


def fold(code: str) -> str:
    """The spelling under which a code is unique and found: NFKC, upper case, spaces and dashes dropped."""
    if code.isascii():
        return code.upper().translate(_DROPPED_ASCII)
    folded, text = "", code
    while folded != text:  # what is dropped may have kept a mark from its letter: two rounds at most change anything
        folded, text = text, "".join(c for c in _upper(text) if not _is_dropped(c))
    return text


def _upper(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).upper())


def _is_dropped(character: str) -> bool:
    return character in _OTHER_DASHES or unicodedata.category(character) in _DROPPED_CATEGORIES


def draw(tag: RandomTag | PatternTag, count: int, random: RandomBytes) -> list[str]:
    """`count` strings of the tag's shape. They may repeat; the ledger refuses those that do."""
    if isinstance(tag, RandomTag):
        return [*_chunks(symbols(tag.alphabet, tag.length * count, random), tag.length)]
    places = tag.pattern.count(PLACE)
    pieces = tag.pattern.split(PLACE)
    return [_fill(pieces, drawn) for drawn in _chunks(symbols(tag.alphabet, places * count, random), places)]


def symbols(alphabet: str, count: int, random: RandomBytes) -> str:
    """`count` characters of `alphabet` (2 to 256 of them), independent and equally likely.

    Bytes above the largest multiple of the alphabet's size are dropped, for `byte % size` alone would favour the
    first characters. `bytes.translate` maps and drops in C: 60 times as fast as `secrets.choice` per character.
    """
    size = len(alphabet)
    fair = 256 - 256 % size
    table = bytes(i % size for i in range(256))
    refused = bytes(range(fair, 256))
    drawn = bytearray()
    while len(drawn) < count:
        wanted = (count - len(drawn)) * 256 // fair + 16
        drawn += random(wanted).translate(table, refused)
    del drawn[count:]
    if alphabet.isascii():
        return drawn.translate(alphabet.encode().ljust(256, b"\0")).decode()
    return "".join(alphabet[i] for i in drawn)


def space(tag: RandomTag | PatternTag) -> int:
    """How many different codes the tag can make, counted in the folded spelling."""
    size = len(set(fold(tag.alphabet)))
    places = tag.length if isinstance(tag, RandomTag) else tag.pattern.count(PLACE)
    return int(size**places)


def faults(tag: RandomTag | PatternTag) -> list[str]:
    """Why the tag cannot make codes; empty if it can."""
    found = []
    folded = fold(tag.alphabet)
    if len(set(tag.alphabet)) != len(tag.alphabet):
        found.append("a character stands twice in the alphabet, which would make it twice as likely")
    elif len(set(folded)) != len(tag.alphabet):
        found.append("characters of the alphabet are one in look-up, where case, spaces and dashes do not count")
    if not 2 <= len(set(folded)) <= 256:
        found.append("an alphabet has 2 to 256 characters")
    if isinstance(tag, PatternTag) and PLACE not in tag.pattern:
        found.append(f"the pattern has no {PLACE} to fill, so all its codes would be one")
    if not found and tag.expected_codes is not None and space(tag) < 2 * tag.expected_codes:
        found.append(
            f"{space(tag)} codes are possible and {tag.expected_codes} are expected: draws would collide for ever; "
            "make the code longer"
        )
    return found


def _chunks(text: str, size: int) -> Sequence[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def _fill(pieces: Sequence[str], drawn: str) -> str:
    return "".join(piece + symbol for piece, symbol in zip(pieces, [*drawn, ""], strict=True))
