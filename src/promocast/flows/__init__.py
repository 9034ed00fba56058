"""The verbs: issue, deliver, show, verify, sweep. Each is one or two ledger transactions around pure rules.

A flow is given what it works on: the ledger, the clock, randomness, and `ring`, which tells a queue that there is work.
A ring that is lost costs time, never work: the sweeper reads the same book.
"""

from collections.abc import Callable, Sequence

# (queue, ids): there is work for these rows.
Ring = Callable[[str, Sequence[int | str]], None]
