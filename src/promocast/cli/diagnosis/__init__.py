"""The doctor's questions: what keeps this setup from working, and what is likely not meant."""

from __future__ import annotations

from pathlib import Path

from promocast.cli.diagnosis import journeys, places, reach, sending, stores
from promocast.cli.diagnosis.finding import Diagnosis
from promocast.settings import Settings

__all__ = ["Diagnosis", "diagnose"]


def diagnose(settings: Settings, source: Path | None = None) -> list[Diagnosis]:
    """Everything is asked, whatever was found before.

    Args:
        source: the file that the settings were read from.
    """
    return [
        *places.data_folder(settings),
        *places.configuration(settings, source),
        *stores.ledger(settings),
        *stores.queue(settings),
        *sending.channels_made(settings),
        *sending.targets(settings),
        *sending.ways_back(settings),
        *reach.reachability(settings),
        *reach.exclusion(settings),
        *journeys.agree(settings),
    ]
