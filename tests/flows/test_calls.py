"""Calls as campaigns write them: method, headers and body, over the real transport, signed whatever they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from promocast.campaign.check import check
from promocast.campaign.templates import Templates
from promocast.channels.http import Http
from promocast.channels.signed_post import Call
from promocast.flows.deliver import deliver
from promocast.model import system_clock
from promocast.settings import CallSettings, SignedPost
from promocast.standins.base import Received
from promocast.standins.endpoint import Endpoint
from tests.flows.conftest import Bench
from tests.flows.desk import desk_of, planned, running_loop
from tests.flows.staging import Stage, source
from tests.unit.makers import campaign

SECRET = "whsec_" + "AAAA" * 8


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def called(
    bench: Bench, loop: asyncio.AbstractEventLoop, rule: str, **attributes: str
) -> tuple[list[Received], list[bytes], list[tuple[str, str | None]]]:
    """(what the endpoint got, the bodies whose signatures the reference library verified, the calls' states)."""
    bench.apply(source(f'on = "code.issued"\ncall = "crm"\n{rule}'))
    stage = Stage(bench, loop)
    stage.issue("ann", attributes={"first_name": "Ann", **attributes})

    async def open_() -> tuple[Endpoint, Http]:
        endpoint = Endpoint(SECRET)
        await endpoint.start()
        return endpoint, Http()

    async def close() -> None:
        await http.close()
        await endpoint.stop()

    endpoint, http = asyncio.run_coroutine_threadsafe(open_(), loop).result(5)
    # The reference library holds a signature against the time of day, so the adapter has the real one.
    call = Call(CallSettings(), {"crm": SignedPost(url=endpoint.url, secrets=(SecretStr(SECRET),))}, http, system_clock)
    deliver(desk_of(bench, loop, {"call": call}), "call", planned(bench, "call"))
    asyncio.run_coroutine_threadsafe(close(), loop).result(5)
    return endpoint.requests, endpoint.bodies, stage.states("call")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_call_is_made_by_the_method_of_its_rule_and_signed(
    bench: Bench, loop: asyncio.AbstractEventLoop, method: str
) -> None:
    requests, verified, states = called(
        bench, loop, f'method = "{method}"\nbody = \'{{ "code": "{{{{ event.code }}}}" }}\''
    )

    assert [request.method for request in requests] == [method]
    assert [request.body for request in requests] == verified
    assert list(orjson.loads(verified[0])) == ["code"]
    assert requests[0].headers["content-type"] == "application/json"
    assert states == [("sent", None)]


def test_headers_are_filled_in_from_the_event_and_of_one_line(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    rule = 'headers = { "X-Code" = "{{ label.promo_code }}", X-Name = "{{ player.first_name }}", X-Brand = "casino" }'

    requests, verified, _ = called(bench, loop, rule, first_name="Ann\r\nAuthorization: Bearer x\x00\n\nbody")

    headers = requests[0].headers
    assert len(headers["x-code"]) == 8
    assert headers["x-name"] == "Ann Authorization: Bearer x body"
    assert headers["x-brand"] == "casino"
    assert "authorization" not in headers
    assert len(verified) == 1


def test_another_content_type_is_sent_as_it_is_written(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    rule = (
        'headers = { Content-Type = "application/x-www-form-urlencoded" }\n'
        "body = 'name={{ player.first_name | url_encode }}&type={{ event.type }}'"
    )

    requests, verified, _ = called(bench, loop, rule, first_name="Ann & Bob")

    assert requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert verified == [b"name=Ann+%26+Bob&type=code.issued"]


def test_a_template_reaches_no_secret_of_the_endpoint() -> None:
    for name in ("endpoint", "secrets", "settings", "endpoints"):
        made = campaign(journey=[{"on": "code.issued", "call": "crm", "headers": {"X-A": f"{{{{ {name}.crm }}}}"}}])
        [finding] = [f for f in check(made, [], ["crm"]) if f.level == "error"]
        assert finding.pointer == "/journey/0/headers/X-A"


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"headers": {"X-A": "{{ label.other }}"}}, "/journey/0/headers/X-A"),
        ({"headers": {"X-A": "{{ unclosed"}}, "/journey/0/headers/X-A"),
        ({"headers": {"Content-Type": "application/vnd.crm+json"}, "body": "name=x"}, "/journey/0/body"),
    ],
)
def test_a_header_that_cannot_be_filled_in_is_an_error_of_the_check(rule: dict[str, Any], pointer: str) -> None:
    made = campaign(journey=[{"on": "code.issued", "call": "crm", **rule}])

    assert [(f.level, f.pointer) for f in check(made, [], ["crm"])] == [("error", pointer)]


@given(st.text())
def test_whatever_a_value_holds_a_header_stays_one_that_can_be_sent(value: str) -> None:
    rule = {"on": "code.issued", "call": "crm", "headers": {"X-A": "a {{ player.x }}"}}
    made = Templates(campaign(journey=[rule]))

    [(name, text)] = made.headers(0, {"player": {"x": value}}).items()

    assert name == "x-a"
    assert text.startswith("a")
    assert all(c.isprintable() for c in text)
