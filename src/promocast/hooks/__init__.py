"""Inbound hooks: what other systems post in their own words, turned into what travels here already.

Pure: bytes and a source's settings in, deposits and client actions out. Nothing is guessed. An event that cannot be
read is told as a fault, an event of no interest is counted, and one bad event of a list holds up none of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from promocast.errors import Fault, InputError
from promocast.hooks.body import Event, Path, Unreadable, at, parsed
from promocast.hooks.fasttrack import FastTrack
from promocast.hooks.generic import Generic
from promocast.hooks.smartico import Smartico
from promocast.jobs import ClientAction, Deposit
from promocast.reading import identity, pointer_of
from promocast.settings import HookSettings


class Reader(Protocol):
    """A system's way of saying it. `player_at` is where an event names its player."""

    player_at: Path

    def __init__(self, settings: HookSettings) -> None: ...

    def read(self, event: Event) -> Deposit | ClientAction | None:
        """What an event says; None where it is of no interest.

        Raises:
            Unreadable, InputError: it is of interest, and not what the system's documentation promises.
        """
        ...


PRESETS: Final[Mapping[str, type[Reader]]] = {"smartico": Smartico, "fasttrack": FastTrack, "generic": Generic}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a body says. `ignored` counts events of no interest; each of `faults` is why something could not be read.
    `player_id` is whom the body is about, where it is about one."""

    deposits: tuple[Deposit, ...] = field(default=(), repr=False)
    actions: tuple[ClientAction, ...] = field(default=(), repr=False)
    ignored: int = 0
    unreadable: int = 0
    faults: tuple[Fault, ...] = ()
    player_id: str | None = field(default=None, repr=False)

    @property
    def accepted(self) -> int:
        return len(self.deposits) + len(self.actions)

    @property
    def what_was_wrong(self) -> str:
        """For the inbox."""
        more = f"; and {len(self.faults) - 5} more" if len(self.faults) > 5 else ""
        return "; ".join(f"{fault.pointer or '/'}: {fault.reason[:200]}" for fault in self.faults[:5]) + more


def read(body: bytes, settings: HookSettings) -> Heard:
    """What a body of this source says: one event, or a list of them."""
    reader = PRESETS[settings.preset](settings)
    base = tuple(settings.at.split(".")) if settings.at else ()
    try:
        found = at(parsed(body), base)
    except Unreadable as exc:
        return Heard(unreadable=1, faults=exc.faults)
    if not isinstance(found, list):
        return _read([((), found)], reader, base)
    if not found:
        return Heard(unreadable=1, faults=(Fault(pointer_of(base), "is an empty list"),))
    return _read([((index,), event) for index, event in enumerate(found)], reader, base)


def _read(events: list[tuple[tuple[int, ...], Any]], reader: Reader, base: Path) -> Heard:
    deposits: list[Deposit] = []
    actions: list[ClientAction] = []
    faults: list[Fault] = []
    ignored = unreadable = 0
    for index, event in events:
        try:
            if not isinstance(event, Mapping):
                raise Unreadable(Fault("", "should be an object"))  # noqa: TRY301 - told as any other fault
            match reader.read(event):
                case None:
                    ignored += 1
                case Deposit() as deposit:
                    deposits.append(deposit)
                case action:
                    actions.append(action)
        except (Unreadable, InputError) as exc:
            unreadable += 1
            here = pointer_of((*base, *index))
            faults += [Fault(here + fault.pointer, fault.reason) for fault in exc.faults]
    players = {_player(event, reader) for _, event in events}
    player_id = players.pop() if len(players) == 1 else None
    return Heard(tuple(deposits), tuple(actions), ignored, unreadable, tuple(faults), player_id)


def _player(event: Any, reader: Reader) -> str | None:
    try:
        return identity(at(event, reader.player_at))
    except Unreadable:
        return None
