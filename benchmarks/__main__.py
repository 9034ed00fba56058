"""`python -m benchmarks [codes issue deliver verify export caps]`: a table of ratios; absolute times say little."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime

from benchmarks import caps, codes, deliver, export, issue, verify

ALL = {
    "codes": codes.run,
    "issue": issue.run,
    "deliver": deliver.run,
    "verify": verify.run,
    "export": export.run,
    "caps": caps.run,
}


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}")
    for name in names:
        for row in ALL[name]():
            ratio = f"x{row.ours / row.other:.2f}"
            print(f"{name:8} {row.what:58} {row.ours:>12,.0f}/s {row.other:>12,.0f}/s  {ratio:8} {row.than}")


main()
