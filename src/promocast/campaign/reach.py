"""What of a journey can never happen, or only in ways that nobody wants: found by looking at the rules together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from promocast.campaign.document import Campaign
from promocast.campaign.rule import QuietHours, Rule
from promocast.model import MINUTE

# A time of day of which less is left than this was mistyped.
_LITTLE: Final = 60  # minutes
_DAY: Final = 24 * 60

# Refusals that say that the code is of no use to its player any more, or that there is no code of theirs at all.
_DEAD_AFTER: Final = {
    "revoked": "the code is revoked by then",
    "expired": "the code has ended by then",
    "already_redeemed": "the code is used up by then",
    "player_excluded": "an excluded player is sent nothing",
}
_NO_CODE: Final = frozenset({"unknown_code", "other_player", "too_many_attempts"})
# What has become true by the time of an event.
_TRUE_AFTER: Final = {
    "code.shown": {"code.shown"},
    "client_action": {"code.shown"},
    "code.redeemed": {"code.redeemed"},
    "code.expired": {"code.expired"},
    "code.revoked": {"code.revoked"},
    "delivery.sent": {"delivery.sent"},
    "delivery.delivered": {"delivery.sent", "delivery.delivered"},
}

Told = tuple[str, str]  # a JSON pointer, and the reason


def errors(campaign: Campaign) -> Iterator[Told]:
    """What contradicts itself."""
    yield from _circles(campaign, of_failures=False)
    for i, rule in enumerate(campaign.journey):
        hours = rule.hours(campaign.quiet_hours)
        if rule.send and rule.at and hours and hours.covers(rule.at):
            window = f"{hours.begins} to {hours.ends}"
            yield (
                f"/journey/{i}/at",
                f"{rule.at} lies in the quiet hours from {window}: it would never be sent at that time",
            )


def warnings(campaign: Campaign) -> Iterator[Told]:
    """What can never happen, or leaves hardly any time."""
    if campaign.control_group == 100:
        yield "/control_group", "all players are held out: nobody is given a code"
    if campaign.quiet_hours is not None:
        yield from _window(campaign, campaign.quiet_hours, "/quiet_hours")
    yield from _circles(campaign, of_failures=True)
    for i, rule in enumerate(campaign.journey):
        if rule.quiet_hours:
            yield from _window(campaign, rule.quiet_hours, f"/journey/{i}/quiet_hours")
        yield from _never_fires(campaign, rule, f"/journey/{i}")
        yield from _never_sends(campaign, rule, f"/journey/{i}")


def _circles(campaign: Campaign, *, of_failures: bool) -> Iterator[Told]:
    """Rules that set each other off by what they send: the ledger ends it, but the player has it all by then. Where
    only failures do (`of_failures`), little of it arrives."""
    journey = campaign.journey
    leads_to = {
        i: [
            j
            for j, other in enumerate(journey)
            if other.send and other.on.startswith("delivery.") and other.of in rule.send
        ]
        for i, rule in enumerate(journey)
    }
    for i, rule in enumerate(journey):
        if rule.send and rule.on.startswith("delivery.") and i in _reached(leads_to, i):
            others = sorted(j for j in _reached(leads_to, i) if i in _reached(leads_to, j))
            if of_failures != all(journey[j].on == "delivery.failed" for j in others):
                continue
            names = ", ".join(str(j + 1) for j in others)
            yield f"/journey/{i}/on", f"rules {names} set each other off by what they send"


def _reached(leads_to: dict[int, list[int]], start: int) -> set[int]:
    found: set[int] = set()
    waiting = list(leads_to[start])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += leads_to[one]
    return found


def _window(campaign: Campaign, hours: QuietHours, pointer: str) -> Iterator[Told]:
    awake = _DAY - hours.minutes
    valid_for = campaign.code.valid_for
    if awake < _LITTLE:
        yield pointer, f"only {awake} minutes of the day are left to send in"
    elif awake * MINUTE < hours.spread:
        yield pointer, f"what waited is spread over {hours.spread // MINUTE} minutes, and the day has only {awake}"
    if valid_for is not None and valid_for - campaign.min_ttl < hours.minutes * MINUTE:
        yield pointer, "a code that is issued when they begin has ended when they end: its messages are skipped"


def _never_fires(campaign: Campaign, rule: Rule, pointer: str) -> Iterator[Told]:
    journey = campaign.journey
    if rule.on == "client_action" and not any(other.when_shown == rule.action for other in journey):
        yield (
            f"{pointer}/action",
            f"no popup has when_shown = {rule.action!r}: it fires only if something else of yours reports that",
        )
    sent = {channel for other in journey for channel in other.send}
    if rule.on.startswith("delivery.") and (rule.of not in sent if rule.of else not sent):
        yield f"{pointer}/of", f"no rule sends {rule.of or 'anything'}: it never fires"
    if rule.on == "code.expired" and campaign.code.valid_for is None and campaign.ends_at is None:
        yield f"{pointer}/on", "the codes of this campaign have no end: it never fires"
    if rule.reason in _NO_CODE:
        yield f"{pointer}/reason", "such a deposit concerns no code of its player: it never fires"
    for condition in rule.unless:
        if condition in _TRUE_AFTER.get(rule.on, ()):
            yield f"{pointer}/unless", f"{condition} is true whenever {rule.on} has happened: it never does anything"


def _never_sends(campaign: Campaign, rule: Rule, pointer: str) -> Iterator[Told]:
    """Rules whose message meets a code of no use; to systems they may call."""
    if not rule.send:
        return
    why = _DEAD_AFTER.get(rule.reason or "")
    if rule.on == "code.expired":
        why = "the code has ended by then"
    elif rule.on == "code.revoked":
        why = "the code is revoked by then"
    elif rule.on == "code.redeemed" and campaign.code.max_redemptions == 1:
        why = "the code is used up by then"
    if why is not None:
        yield f"{pointer}/send", f"can never be sent: {why}; a `call` can be made"
    valid_for = campaign.code.valid_for
    if valid_for is not None and _life_has_begun(campaign, rule) and rule.after + campaign.min_ttl > valid_for:
        yield f"{pointer}/after", "can never be sent: the code has ended by then, or is too near its end to be used"


def _life_has_begun(campaign: Campaign, rule: Rule) -> bool:
    """Whether at the time of the rule's event `valid_for` counts already."""
    begins = {
        "issued": True,
        "sent": rule.on in ("delivery.sent", "delivery.delivered"),
        "shown": rule.on in ("code.shown", "client_action"),
    }
    return begins[campaign.code.valid_from]
