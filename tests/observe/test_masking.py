"""Whatever is handed to a logger, by whomever: what identifies a player or spends money is not in the line."""

from __future__ import annotations

import ast
import asyncio
import errno
import gc
import io
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from promocast import masking, observe
from promocast.errors import ConfigError, InputError, LedgerUnavailable, NotSent, PromocastError
from promocast.model import Message, PushSubscription
from tests.observe.conftest import CODE, MAIL, TOKEN, Log

ROOT = Path(__file__).parents[2]
MESSAGE = Message(key="d-1", channel="email", campaign="w", address=MAIL, content={"text": CODE}, player_id="84213")
VALUES: dict[str, Any] = {
    "a code": CODE,
    "an address": MAIL,
    "a secret": SecretStr(TOKEN),
    "a message": MESSAGE,
    "a subscription": PushSubscription("https://push.example/AB12CD34", TOKEN, MAIL),
    "bytes": CODE.encode(),
    "a job": {"recipients": [{"player_id": "84213", "addresses": {"email": MAIL}}]},
    "a list of codes": [CODE, CODE],
    "an exception": ValueError(CODE),
    "a class of errors": type(CODE, (Exception,), {})(MAIL),
}


@pytest.mark.parametrize("what", [name for name in VALUES if name != "a class of errors"])
@pytest.mark.parametrize("key", [*sorted(masking.KEYS - {"event"}), "code", "player_id", "address", "payload"])
def test_no_value_passes_under_any_key(log: Log, key: str, what: str) -> None:
    observe.log.warning("ring_lost", **{key: VALUES[what]})

    log.holds_none_of(CODE, MAIL, TOKEN, "84213")
    assert log.lines[0]["event"] == "ring_lost"


@pytest.mark.parametrize("what", VALUES)
def test_no_value_passes_as_the_event(log: Log, what: str) -> None:
    observe.log.error(VALUES[what])
    observe.log.error(f"could not send to {MAIL}")
    observe.log.error("sent %s to %s", CODE, MAIL)
    observe.log.error("sent", CODE, MAIL)

    assert len(log.lines) == 4
    log.holds_none_of(CODE, MAIL, TOKEN, "84213")


def test_what_is_bound_to_a_context_passes_the_same_mask(log: Log) -> None:
    bound = observe.log.bind(player_id="84213", code=CODE)

    bound.info("sweeper_ready")

    log.holds_none_of(CODE, "84213")
    assert log.lines[0]["process"] == "worker-all"


def test_what_an_operator_needs_is_told(log: Log) -> None:
    observe.log.warning("channel_halted", channel="email", reason="smtp auth 535 5.7.8", count=3)
    observe.log.warning("worker_ready", queues=["deliver.email", "issue"])
    observe.log.warning("ledger_unavailable", error=LedgerUnavailable("The ledger does not answer (OperationalError)."))

    halted, ready, away = log.lines
    assert (halted["event"], halted["channel"], halted["count"]) == ("channel_halted", "email", 3)
    assert halted["reason"] == "smtp auth 535 5.7.8"
    assert ready["queues"] == ["deliver.email", "issue"]
    assert away["error"] == "LedgerUnavailable: The ledger does not answer (OperationalError)."
    assert away["timestamp"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "text"])
def test_of_an_exception_type_and_frames_are_told_and_only_our_own_words(log: Log, style: Any) -> None:
    def deepest() -> None:
        raise ValueError(f"{MAIL} has no mailbox")

    def above() -> None:
        try:
            deepest()
        except ValueError as exc:
            exc.add_note(CODE)
            raise NotSent("ConnectTimeout") from exc

    log.configure(style)
    try:
        above()
    except NotSent:
        observe.log.exception("adapter_raised")

    log.holds_none_of(MAIL, CODE)
    for told in ("NotSent: ConnectTimeout", "because of: ValueError", "in deepest", "in above", "test_masking.py:"):
        assert told in log.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PromocastError(MAIL), "PromocastError"),
        (ConfigError(f"'{TOKEN}' is no duration"), "ConfigError"),
        (InputError("unknown_code", f"{CODE} is no code"), "InputError: unknown_code"),
        (ExceptionGroup("all failed", [ValueError(CODE), NotSent("reset")]), "within: NotSent: reset"),
    ],
)
def test_an_error_of_ours_that_quotes_what_it_was_given_is_told_without_it(
    log: Log, error: Exception, told: str
) -> None:
    observe.log.error("adapter_raised", exc_info=error)

    log.holds_none_of(MAIL, TOKEN, CODE)
    assert told in log.lines[0]["exception"].splitlines()


def test_causes_that_go_in_a_circle_end(log: Log) -> None:
    one, other = ValueError(CODE), KeyError(CODE)
    one.__cause__, other.__cause__ = other, one

    observe.log.error("adapter_raised", exc_info=one)

    assert log.lines[0]["exception"].splitlines() == ["ValueError", "because of: KeyError"]


# What libraries do with the standard library's loggers.


def test_a_librarys_template_is_told_and_its_arguments_are_not(log: Log) -> None:
    logging.getLogger("httpx").info("HTTP Request: %s %s", "POST", f"https://api.telegram.org/bot{TOKEN}/sendMessage")

    [line] = log.lines
    log.holds_none_of(TOKEN)
    assert line["event"] == "HTTP Request: %s %s"
    assert (line["logger"], line["at"].partition(":")[0]) == ("httpx", "test_masking")


def test_a_text_that_is_not_in_the_source_is_withheld(log: Log) -> None:
    logging.getLogger("somebody").error(f"cannot reach {MAIL}")  # noqa: G004 - as libraries do

    log.holds_none_of(MAIL)
    assert log.lines[0]["event"] == masking.WITHHELD


def test_a_line_that_cannot_be_written_does_not_show_its_arguments(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, Any]:
        raise RuntimeError(CODE)

    monkeypatch.setattr(masking, "_value", broken)
    logging.getLogger("somebody").error("sent %s", MAIL)
    monkeypatch.undo()

    log.holds_none_of(MAIL, CODE)
    assert log.text == "a log line was lost: RuntimeError\n"


def test_a_full_disk_takes_the_line_and_nothing_else(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that dies of a log line sends nothing more."""
    [handler] = [each for each in logging.getLogger().handlers if isinstance(each, observe._Handler)]

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(handler, "stream", Full())
    observe.log.warning("ring_lost")
    monkeypatch.undo()
    observe.log.warning("ring_lost")

    assert len(log.lines) == 1


def test_arguments_that_do_not_fit_their_template_are_not_shown(log: Log) -> None:
    [handler] = [each for each in logging.getLogger().handlers if isinstance(each, observe._Handler)]
    alone = logging.Logger("somebody")  # noqa: LOG001 - pytest's own handlers would put them in
    alone.addHandler(handler)

    alone.error("%d of %d", MAIL)

    log.holds_none_of(MAIL)
    assert log.lines[0]["event"] == "%d of %d"


# What nobody catches.


def test_a_thread_that_dies_tells_why_and_not_with_what(log: Log) -> None:
    def dies() -> None:
        raise ValueError(MAIL)

    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()

    log.holds_none_of(MAIL)
    assert log.lines[0]["event"] == "uncaught_exception"
    assert "in dies" in log.lines[0]["exception"]


def test_a_process_that_dies_tells_why_and_not_with_what(log: Log) -> None:
    sys.excepthook(ValueError, ValueError(MAIL), None)

    log.holds_none_of(MAIL)
    assert log.lines[0]["exception"] == "ValueError"


def test_what_is_raised_where_nobody_can_catch_it_is_told(log: Log) -> None:
    class Bad:
        def __del__(self) -> None:
            raise ValueError(MAIL)

    del Bad

    class Worse:
        def __del__(self) -> None:
            raise ValueError(CODE)

    Worse()
    gc.collect()

    log.holds_none_of(MAIL, CODE)
    assert log.lines[0]["event"] == "uncaught_exception"


def test_a_task_whose_exception_nobody_asks_for_is_told_without_it(log: Log) -> None:
    async def fails(address: str) -> None:
        raise ValueError(address)

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        task = asyncio.create_task(fails(MAIL), name=CODE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()
        asyncio.get_running_loop().call_exception_handler({"message": MAIL, "address": MAIL})

    asyncio.run(main())

    log.holds_none_of(MAIL, CODE)
    assert any("ValueError" in line.get("exception", "") for line in log.lines)


def test_a_warning_is_told_without_its_text(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = observe._warned
        warnings.warn(f"{MAIL} is odd", UserWarning, stacklevel=1)

    log.holds_none_of(MAIL)
    assert (log.lines[0]["event"], log.lines[0]["category"]) == ("python_warning", "UserWarning")


# What our own lines say is known to the mask.


def calls() -> list[tuple[str, ast.Call]]:
    """[(file, call)] of all our log lines."""
    files = [*(ROOT / "src" / "promocast").rglob("*.py"), *(ROOT / "workers").glob("*.py")]
    return [
        (str(path.relative_to(ROOT)), node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    ]


def test_every_key_of_our_own_lines_is_known_to_the_mask() -> None:
    used = {(file, keyword.arg) for file, call in calls() for keyword in call.keywords}

    assert len(used) > 20, "the lines are found at all"
    assert [each for each in sorted(used) if each[1] not in masking.KEYS | {"exc_info"}] == []


def test_every_event_of_our_own_lines_stands_in_the_source() -> None:
    loose = [(file, call.lineno) for file, call in calls() if not isinstance(call.args[0], ast.Constant)]

    assert loose == []
