"""`promocast campaign backtest`: what an edit would have made of judged deposits, before it is applied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from promocast.campaign import comparison
from promocast.campaign.judging import Compared
from promocast.cli import campaign_files, context
from promocast.errors import InputError
from promocast.flows import backtest as flow
from promocast.flows.past import Period
from promocast.flows.versions import Versions
from promocast.model import Instant, parse_duration, parse_rfc3339

CHANGES: Final = {
    "gained": "accepted now",
    "lost": "accepted no more",
    "reward": "accepted with another reward",
    "code": "accepted by another code",
    "refusal": "not accepted, for another reason",
}


def backtest(
    file: Annotated[Path, typer.Argument(help="The edited campaign's TOML file, as `campaign apply` takes it.")],
    since: Annotated[str, typer.Option(help='From when on: how long ago, as in "30d", or an RFC 3339 time.')] = "30d",
    until: Annotated[str | None, typer.Option(help="Until before when; else now.")] = None,
    top: Annotated[int, typer.Option(help="How many players are shown who gain most, and who lose most.", min=0)] = 10,
    details: Annotated[Path | None, typer.Option(help="Write every deposit that changes, one JSON a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON object.")] = False,
) -> None:
    """Judge recorded deposits again by an edited campaign: who gains, who loses, at what cost. It changes nothing."""
    settings, now = context.settings(), context.clock()
    period = Period(_moment(since, now, "--since"), now if until is None else _moment(until, now, "--until"))
    if period.since >= period.until:
        raise typer.BadParameter("the period ends before it begins", param_hint="--until")
    checked = campaign_files.read(file, settings)
    campaign_files.refuse_errors(checked)
    with context.open_ledger(settings) as ledger, _writing(details) as write:
        result = flow.backtest(
            ledger, checked.campaign, period, versions=Versions(), terms=settings.verification, each=write
        )
    told = result.as_json(top)
    if as_json:
        context.print_json(told)
    else:
        _print(told)


def _moment(text: str, now: Instant, option: str) -> Instant:
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError:
        wanted = f'{text!r} is no duration, as "30d" is one, and no RFC 3339 time'
        raise typer.BadParameter(wanted, param_hint=option) from None


@contextmanager
def _writing(path: Path | None) -> Iterator[Callable[[Compared], None]]:
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as exc:
        raise InputError("unwritable_file", f"{path} cannot be written: {exc}") from exc
    with file:

        def write(compared: Compared) -> None:
            if comparison.change(compared) is not None:
                file.write(json.dumps(comparison.as_line(compared), ensure_ascii=False) + "\n")

        yield write


def _print(told: dict[str, Any]) -> None:
    out, deposits = context.out, told["deposits"]
    edited = ", ".join(told["edited"]) or "nothing that deposits are judged by"
    out.print(f"campaign {told['campaign']} version {told['version']}, edited: {edited}")
    out.print(f"judged from {told['since']} until {told['until']},")
    out.print("as if the edit had been in force all that time, for every code of the campaign")
    out.print(f"{deposits['replayed']} deposits replayed, {deposits['concerned']} of them about this campaign\n")
    out.print(_counts(told))
    out.print()
    for name, words in CHANGES.items():
        out.print(f"{told['changes'][name]:>6}  {words}")
    for name in ("gain", "lose"):
        found = told["players"][name]
        if found["number"]:
            out.print(f"\nplayers who {name}: {found['number']}; in the deposits that change for them")
            out.print(_players(found["most"]))
    if deposits["not_reproduced"]:
        out.print(
            f"\n{deposits['not_reproduced']} recorded verdicts do not follow from what the ledger holds by now; those "
            "that the edit does not touch stand as recorded"
        )


def _counts(told: dict[str, Any]) -> Table:
    table = _table(("",), ("before", "after", "difference"))
    for campaign, sides in (("", told), *told["other_campaigns"].items()):
        of = f" by codes of {campaign}" if campaign else ""
        _row(table, f"accepted{of}", sides["accepted"])
        for unit, sums in sides["rewards"].items():
            _row(table, f"rewards{of}, {unit}", sums)
    for unit, budget in told["budget"].items():
        _row(table, f"budget, {unit}: limit", budget["limit"])
        _row(table, f"budget, {unit}: used", budget["used"])
    for reason, counts in told["reasons"].items():
        _row(table, reason, counts)
    return table


def _row(table: Table, name: str, sums: dict[str, Any]) -> None:
    before, after = sums["before"], sums["after"]
    by = None if before is None or after is None else Decimal(after) - Decimal(before)
    cells = ("-" if value is None else str(value) for value in (before, after))
    table.add_row(name, *cells, f"{by:+}" if by else "")


def _players(rows: list[dict[str, Any]]) -> Table:
    table = _table(("player", "in"), ("accepted", "after", "reward", "after"))
    for row in rows:
        accepted, reward = row["accepted"], row["reward"]
        sums = (accepted["before"], accepted["after"], reward["before"], reward["after"])
        table.add_row(row["player_id"], row["unit"] or "-", *map(str, sums))
    return table


def _table(left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table
