"""A generated history: many players, codes and deposits, in whatever order a seed has them."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from promocast import jobs
from promocast.campaign.edit import Edit
from promocast.errors import Conflict
from promocast.flows import revoke, show, tell, verify
from promocast.flows.verify import Anew
from promocast.ledger import players
from promocast.ledger.players import Player
from promocast.model import DAY, HOUR, MINUTE
from tests.flows.conftest import Bench

PLAYERS = [f"p{number}" for number in range(12)]
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "GBP")
METHODS = ("VISA", "SKRILL", None)

TAG = """
[label_tags.promo_code]
type = "random"
length = 8
"""


def welcome(number: int) -> str:
    """The versions that come into force one after the other."""
    code = (
        'valid_for = "2d"',
        'valid_for = "3d"\nvalid_from = "shown"\nmax_redemptions = 2',
        'valid_for = "2d"\nholder_only = false\nmax_redemptions = 3',
        'valid_for = "12h"',
    )[number % 4]
    redemption = (
        'min_deposit = { EUR = "20.00", USD = "25.00" }',
        'min_deposit = { EUR = "15.00" }\nper_player = 2\nbudget = { redemptions = 9, amount = { EUR = "60.00" } }',
        'payment_methods = ["VISA"]\nper_player = 1\nbudget = { redemptions = 12 }',
        'max_deposit = { EUR = "80.00" }\ndeposit_index = [1, 2]\nbudget = { amount = { EUR = "120.00" } }',
    )[number % 4]
    reward = (
        'percent = "50"\nmax = { EUR = "20.00" }',
        'fixed = { EUR = "7.50", USD = "8.00" }',
        "free_spins = 20",
        'percent = "33.3"',
    )[number % 4]
    return (
        f'id = "welcome"\nallow_external_codes = true\n{TAG}\n[code]\nlabel_tag = "promo_code"\n{code}\n'
        f"[redemption]\n{redemption}\n[reward]\n{reward}\n"
    )


RIVAL = f"""
id = "rival"
{TAG}
[code]
label_tag = "promo_code"
valid_for = "1d"

[redemption]
match = ["player"]
min_deposit = {{ EUR = "30.00" }}
budget = {{ amount = {{ EUR = "40.00" }} }}

[reward]
percent = "10"
"""


@dataclass
class History:
    """Steps by chance, the same for the same seed (but for the codes, which are drawn).

    `plain`: every judging is on record with all that an edit could change. Nothing is told late, judged again without
    need, or guessed.
    """

    bench: Bench
    chance: random.Random
    edit: Edit | None = None  # in force from the beginning, in every version
    plain: bool = False
    version: int = 0
    told: list[dict[str, Any]] = field(default_factory=list)
    spelt: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    unjudged: list[str] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self._apply()
        self.bench.apply(RIVAL)

    def play(self, steps: int) -> None:
        doings = {
            self.issue: 12, self.deposit: 45, self.follow_up: 25, self.judge: 20, self.show: 8, self.save: 5,
            self.revoke: 3, self.block: 4, self.reverify: 6, self.apply: 3, self.guess: 2,
        }  # fmt: skip
        for doing in (self.reverify, self.guess) if self.plain else ():
            del doings[doing]
        chosen = self.chance.choices(list(doings), list(doings.values()), k=steps)
        for doing in chosen:
            doing()
            self.bench.clock.advance(self.chance.choice((1, 7, 40_000, 5 * MINUTE, HOUR)))
        self.judge()

    def issue(self) -> None:
        self.number += 1
        some = self.chance.sample(PLAYERS, self.chance.randint(1, 5))
        campaign = self.chance.choice(("welcome", "welcome", "rival"))
        for code in self.bench.issue(*some, request_id=f"r-{self.number}", campaign=campaign):
            self.spelt.append(code.code)
            self.held[code.code] = code.player_id or ""
        self._answer_rings()

    def deposit(self) -> None:
        """One deposit or several at once, some judged later."""
        for _ in range(self.chance.choice((1, 1, 1, 2, 5))):
            self.number += 1
            message: dict[str, Any] = {
                "deposit_id": f"tx-{self.chance.randrange(10**6):06}-{self.number}",
                "player_id": self.chance.choice(PLAYERS),
                "amount": f"{self.chance.choice((10, 15, 19.99, 20, 25, 50, 100)):.2f}",
                "currency": self.chance.choice(CURRENCIES),
                "status": self.chance.choice(("requested", "approved", "approved", "approved", "rolled_back")),
                "payment_method": self.chance.choice(METHODS),
                "deposit_index": self.chance.choice((1, 2, 3, None)),
            }
            message["promo_code"] = self._quote(message["player_id"])
            self.told.append(message)
            self._tell({name: value for name, value in message.items() if value is not None})
        if self.chance.random() < 0.8:
            self.judge()

    def _quote(self, player_id: str) -> str | None:
        """Mostly a code of the player's."""
        kind = self.chance.random()
        if kind < 0.4 or not self.spelt:
            return None
        if kind < 0.5:
            return f"NOSUCH{self.chance.randrange(8)}"
        mine = [code for code, holder in self.held.items() if holder == player_id]
        return self.chance.choice(mine[-3:] if kind < 0.85 and mine else self.spelt[-20:])

    def guess(self) -> None:
        """One player tries other players' codes, and some of their own, one after the other."""
        player_id = self.chance.choice(PLAYERS)
        for code in self.chance.sample(self.spelt, min(7, len(self.spelt))):
            self.number += 1
            deposit_id = f"tx-{self.chance.randrange(10**6):06}-{self.number}"
            self.bench.clock.advance(1)
            self.bench.deposit(deposit_id, player_id=player_id, promo_code=code, payment_method="VISA")

    def follow_up(self) -> None:
        """A further message about a deposit: another status, or what the first one lacked."""
        if self.told:
            message = self.chance.choice(self.told[-25:])
            status = self.chance.choice(("approved", "approved", "rolled_back", "cancelled", "requested"))
            late: dict[str, Any] = {}
            if not self.plain:
                quote = self._quote(message["player_id"])
                late = {"payment_method": "VISA", "deposit_index": 1, "promo_code": quote}
            known = {**late, **{name: value for name, value in message.items() if value is not None}, "status": status}
            self._tell({name: value for name, value in known.items() if value is not None})

    def _tell(self, message: dict[str, Any]) -> None:
        self.unjudged += tell.record(self.bench.ledger, [jobs.read_deposit(message)], self.bench.clock())

    def judge(self) -> None:
        """All that is to be judged, and now and then something again."""
        again = [] if self.plain or self.chance.random() < 0.8 else [told["deposit_id"] for told in self.told[-4:]]
        self.bench.judge(*{*self.unjudged, *again})
        self.unjudged = []

    def show(self) -> None:
        """A CRM reports a code of ours, of its holder, of somebody else or of nobody in particular."""
        if self.spelt:
            self._save(self.chance.choice(self.spelt[-15:]), self.chance.choice((None, *PLAYERS)))

    def save(self) -> None:
        """A code that a CRM made: quoted before by deposits that wait for it, or not; somebody's or nobody's."""
        text = self.chance.choice((f"NOSUCH{self.chance.randrange(8)}", f"CRM{self.number}"))
        self.spelt.append(text)
        self._save(text, self.chance.choice((None, None, *PLAYERS[:3])))
        self._answer_rings()

    def _save(self, text: str, player_id: str | None) -> None:
        bench = self.bench
        with suppress(Conflict):
            show.saved(
                bench.ledger,
                text,
                bench.clock(),
                versions=bench.versions,
                ring=bench.ring,
                player_id=player_id,
                campaign_id="welcome",
            )

    def revoke(self) -> None:
        if self.spelt:
            bench, spelt = self.bench, self.chance.choice(self.spelt[-20:])
            revoke.revoke(bench.ledger, spelt, bench.clock(), versions=bench.versions, ring=bench.ring, by="somebody")

    def block(self) -> None:
        active = self.chance.random() < 0.5
        block = {"type": "Excluded", "active": active, "until": self.bench.clock() + self.chance.choice((HOUR, DAY))}
        with self.bench.ledger.begin() as conn:
            player = Player(self.chance.choice(PLAYERS), None, None, {}, [block])
            players.put(conn, player, self.bench.clock())

    def reverify(self) -> None:
        if self.told:
            verify.judge(
                self.bench.ledger,
                [self.chance.choice(self.told[-30:])["deposit_id"]],
                versions=self.bench.versions,
                terms=self.bench.terms,
                clock=self.bench.clock,
                ring=self.bench.ring,
                anew=Anew("somebody", "asked for"),
            )

    def apply(self) -> None:
        self.version += 1
        self._apply()

    def _apply(self) -> None:
        campaign = self.bench.parse(welcome(self.version))
        self.bench.put_in_force(campaign if self.edit is None else self.edit.of(campaign))

    def _answer_rings(self) -> None:
        rung, self.bench.rung = self.bench.rung, []
        self.unjudged += [str(i) for queue, ids in rung if queue == jobs.VERIFY for i in ids]
