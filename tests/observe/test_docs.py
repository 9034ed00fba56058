"""docs/metrics.md is made from what is served. Make it anew: python -m tests.observe.test_docs"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric

from promocast import metrics
from promocast.exposition import Book, Merged
from promocast.ledger import Ledger, migrate
from promocast.model import system_clock

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "metrics.md"

HEAD = """# Metrics and health

`GET /metrics` in Prometheus' text format and `GET /healthz`, without a key, at `[metrics]` `host` and `port`
(127.0.0.1:9464; port 0 serves neither). Under `promocast up` one address shows all processes. `promocast api`, `worker`
and `sweeper` by themselves each serve their own at that address, so processes that share a machine need a port each
(`PROMOCAST_METRICS__PORT`). A port that is taken is told in the log and tried again; it stops nothing.

Every sample has the label `process` (api, worker-issue, worker-deliver, worker-verify, sweeper). No label names a
player, a code, an address or an endpoint's URL. Python's and the process's own metrics (`process_`, `python_`) are
served as well.

`/healthz` answers 200 while every loop of the process comes round: the sweeper's pass, consumers' looks at their
queues, event loops, the watch over exclusions, actors at work. One that has not for a minute (an actor for two) makes
it 503 with its name under `stuck`. Waiting for a ledger or a queue that is away is coming round. `up` ends a process
that has been stuck, or silent, for a minute more, and starts it again; elsewhere let the orchestrator do so.

[alerts.yml](alerts.yml) has alert rules to begin with.
"""

OF_THE_BOOK = """
## Of the ledger and the queue

Served by the sweeper; of several sweepers all serve the same, so take the `max`. Counted when they are asked for, at
most every 5 seconds and for at most a twentieth of the time. They are found by what is still open: 5 to 12 ms with
10,000 open deliveries of a million, where counting every delivery by state takes 110 ms on PostgreSQL and 500 ms on
SQLite; final states are counted as they come, by `promocast_sends_total`. While the ledger or the queue is away its
figures are left out.
"""


def made(book: Book) -> str:
    """The document."""
    own = [f"| {_row(*one)} |\n" for one in sorted(_of_processes())]
    of_book = [f"| {_row(m.name, m.type, _labels(m), m.documentation)} |\n" for m in book.collect()]
    of_up = [f"| {_row(m.name, m.type, 'process', m.documentation)} |\n" for m in Merged({"api": ""}).collect()]
    head = "\n| metric | kind | labels | what |\n|---|---|---|---|\n"
    return "".join(
        [
            HEAD,
            "\n## Of each process\n",
            head,
            *own,
            OF_THE_BOOK,
            head,
            *of_book,
            "\n## Of `promocast up`\n",
            head,
            *of_up,
        ]
    )


def _row(name: str, kind: str, labels: str, what: str) -> str:
    shown = f"{name}_total" if kind == "counter" else name
    return f"`{shown}` | {kind} | {labels or '-'} | {what}"


def _of_processes() -> Iterator[tuple[str, str, str, str]]:
    collectors: Any = metrics.REGISTRY._collector_to_names
    for collector in collectors:
        for family in collector.describe() if hasattr(collector, "describe") else ():
            if family.name.startswith("promocast_"):
                yield family.name, family.type, ", ".join(collector._labelnames), family.documentation


def _labels(family: Metric) -> str:
    return ", ".join(dict.fromkeys(name for sample in family.samples for name in sample.labels))


def served(book: Book) -> set[str]:
    """The names of all series."""
    own = {name for names in metrics.REGISTRY._collector_to_names.values() for name in names}
    return own | {family.name for source in (book, Merged({"api": ""})) for family in source.collect()}


class _Idle:
    def backlog(self, _queue: str) -> int:
        return 0


def book_over(ledger: Ledger) -> Book:
    return Book(ledger, _Idle(), system_clock)  # type: ignore[arg-type]


def test_the_document_lists_what_is_served(ledger: Ledger) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == made(book_over(ledger)), "run: python -m tests.observe.test_docs"


def test_alert_rules_are_rules_over_series_that_are_served(ledger: Ledger) -> None:
    known = served(book_over(ledger))
    groups = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len(rules) >= 3
    for rule in rules:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        named = set(re.findall(r"promocast_\w+", rule["expr"] + str(rule["annotations"])))
        assert named <= known, rule["alert"]
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= {"channel", "kind"}
        assert rule["labels"]["severity"] in {"page", "ticket"}


if __name__ == "__main__":
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        opened = Ledger(f"sqlite:///{folder}/ledger.sqlite3")
        migrate.upgrade(opened, os.urandom, system_clock())
        DOCUMENT.write_text(made(book_over(opened)), encoding="utf-8")
