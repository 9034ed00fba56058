"""Exporting 200,000 codes, a third of them redeemed, to a file: against one plain query into csv, and how much memory
it takes, in a process that does nothing else."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import insert, text

from benchmarks import ledgers
from benchmarks.timing import Row, rate
from promocast.ledger import Ledger
from promocast.ledger.schema import codes, deliveries, deposits, redemptions

COUNT, LOT = 200_000, 10_000

# The whole command, and at its end the most memory that the process ever had.
_COMMAND: Final = """
import sys, time
from promocast import cli
started = time.perf_counter()
try:
    cli.main()
except SystemExit as done:
    assert not done.code, done.code
print(time.perf_counter() - started, *(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""

# All columns by joins, in one long transaction; how many redemptions are active, and which is the newest, is left out.
_PLAIN: Final = """
SELECT c.code, c.campaign_id, c.player_id, c.issued_at, d.sent_at, c.shown_at, c.expires_at, c.redeemed, r.amount,
  r.currency, r.reward, r.deposit_id, r.at, r.rolled_back_at
FROM codes c LEFT JOIN deliveries d ON d.code_id = c.id LEFT JOIN redemptions r ON r.code_id = c.id ORDER BY c.id"""


def run() -> Iterator[Row]:
    with ledgers.each() as opened, tempfile.TemporaryDirectory() as folder:
        for ledger in opened:
            for first in range(1, COUNT, LOT):
                _fill(ledger, range(first, first + LOT))
            seconds, peak = _export(ledger, Path(folder))
            plain = rate(COUNT, lambda ledger=ledger: _plain(ledger, Path(folder)), 1)  # type: ignore[misc]
            yield Row(
                f"{ledger.dialect}: codes exported, {peak:.0f} MiB at most", COUNT / seconds, plain, "a plain query"
            )


def _export(ledger: Ledger, folder: Path) -> tuple[float, float]:
    """(seconds, MiB)"""
    config = folder / "promocast.toml"
    url = ledger.engine.url.render_as_string(hide_password=False)
    config.write_text(f'data_dir = "{folder}"\n[ledger]\nurl = "{url}"\n', encoding="utf-8")
    config.chmod(0o600)
    command = ["--config", str(config), "codes", "export", "--output", str(folder / "codes.csv")]
    done = subprocess.run([sys.executable, "-c", _COMMAND, *command], capture_output=True, text=True, check=True)
    seconds, kib = done.stdout.split()
    with (folder / "codes.csv").open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == COUNT + 1
    return float(seconds), int(kib) / 1024


def _plain(ledger: Ledger, folder: Path) -> None:
    with ledger.read() as conn, (folder / "plain.csv").open("w", encoding="utf-8") as out:
        csv.writer(out).writerows(conn.execution_options(yield_per=1_000).execute(text(_PLAIN)))


def _fill(ledger: Ledger, ids: range) -> None:
    paid = ids[::3]
    with ledger.begin() as conn:
        conn.execute(insert(codes), [_code(i, redeemed=i in paid) for i in ids])
        sent = {"rule": 0, "channel": "popup", "state": "sent", "planned_at": 1, "sent_at": 1}
        conn.execute(insert(deliveries), [{"code_id": i, **sent} for i in ids])
        told = {"messages": "{}", "received_at": 1}
        conn.execute(insert(deposits), [{"deposit_id": f"tx-{i}", "player_id": f"p{i}", **told} for i in paid])
        conn.execute(insert(redemptions), [_redemption(i) for i in paid])


def _code(i: int, *, redeemed: bool) -> dict[str, Any]:
    recipient = '{"addresses":{"popup":"84213","email":"ann@example.com"},"attributes":{"first_name":"Ann"}}'
    shared = {"campaign_id": "bench", "campaign_version": 1, "recipient": recipient, "issued_at": 1}
    limits = {"redeemed": int(redeemed), "max_redemptions": 1}
    return {"id": i, "code": f"B{i}", "folded": f"B{i}", "player_id": f"p{i}", **shared, **limits}


def _redemption(i: int) -> dict[str, Any]:
    reward = orjson.dumps({"type": "percent", "amount": "50.00", "currency": "EUR"}).decode()
    shared = {"campaign_id": "bench", "amount": "50.00", "currency": "EUR", "reward": reward, "reward_units": 5_000}
    return {"code_id": i, "deposit_id": f"tx-{i}", "player_id": f"p{i}", "at": 1, **shared}
