"""How each channel sends, from the settings: no process has more open than `concurrency` says."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.runtime import delivery_threads, policies
from promocast.settings import Settings

KEY = {"private_key": "x", "subject": "mailto:push@example.com"}


def settings_of(threads: int, **channels: dict[str, Any]) -> Settings:
    return Settings.model_validate({"workers": {"deliver_threads": threads}, "channels": channels})


@pytest.mark.parametrize("concurrency", [1, 2, 3, 25])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_threads_of_a_process_share_a_channels_concurrency(concurrency: int, threads: int) -> None:
    settings = settings_of(threads, telegram={"concurrency": concurrency})

    open_at_once = policies(settings)["telegram"].slots * delivery_threads(settings, "telegram")

    assert concurrency - threads < open_at_once <= concurrency
    assert delivery_threads(settings, "telegram") >= 1


@pytest.mark.parametrize(
    ("fcm", "webpush", "rate", "slots"),
    [
        ({"credentials": "x", "rate": 9, "concurrency": 6}, {}, 9, 6),
        ({"credentials": "x"}, {**KEY, "rate": 5, "concurrency": 8}, 5, 8),
        ({"credentials": "x", "rate": 3, "concurrency": 4}, {**KEY, "rate": 5, "concurrency": 8}, 3, 4),
        ({"rate": 1, "concurrency": 1}, KEY, 0, 32),
    ],
    ids=["one", "the other", "both", "one that is not configured"],
)
def test_push_goes_by_the_slower_of_its_adapters_that_are_configured(
    fcm: dict[str, Any], webpush: dict[str, Any], rate: float, slots: int
) -> None:
    policy = policies(settings_of(1, push={"fcm": fcm, "webpush": webpush}))["push"]

    assert (policy.rate, policy.slots) == (rate, slots)
