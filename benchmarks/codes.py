"""Drawing codes: against `secrets.choice`, the way it is usually written, and against the CSPRNG alone, the limit."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

from benchmarks.timing import Row, rate
from promocast.campaign.document import LIKELY_ALPHABET, RandomTag
from promocast.campaign.label_tags import draw

COUNT = 100_000


def run() -> Iterator[Row]:
    tag = RandomTag(type="random", length=8)
    ours = rate(COUNT, lambda: [draw(tag, 500, os.urandom) for _ in range(COUNT // 500)])
    naive = rate(COUNT, lambda: ["".join(secrets.choice(LIKELY_ALPHABET) for _ in range(8)) for _ in range(COUNT)], 1)
    limit = rate(COUNT, lambda: [os.urandom(500 * 8) for _ in range(COUNT // 500)])
    yield Row("codes of 8 of 31 characters, in lots of 500", ours, naive, "secrets.choice")
    yield Row("codes of 8 of 31 characters, in lots of 500", ours, limit, "os.urandom alone (the limit)")
