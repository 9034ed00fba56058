"""An endpoint that wants no more calls is left alone, the operator is told, and their word is enough to go on."""

from __future__ import annotations

from typing import Any

from promocast.demo.world import World
from promocast.standins.base import Reply
from tests.e2e.harness import Installation, eventually

JOB = {"request_id": "r-1", "campaign": "demo", "recipients": [{"player_id": "p1"}]}


def test_an_endpoint_that_answers_410_is_disabled_until_the_operator_resumes_it(world: World, up: Installation) -> None:
    world.crm.script = lambda _: Reply(410)
    with up.client() as client:

        def found(type_: str) -> list[dict[str, Any]]:
            return [event for event in client.get("/v1/events").json()["items"] if event["type"] == type_]

        assert client.post("/v1/issue", json=JOB).status_code == 202
        code = eventually("the code is issued", lambda: found("code.issued"))[0]["code"]
        payload = {"client_action": "CODE_IS_SHOWN", "code": code}
        action = {"eid": "e1", "user_ext_id": "p1", "event_type": "client_action", "payload": payload}
        assert client.post("/v1/events/client-action", json=action).is_success
        [event] = eventually("the endpoint is disabled", lambda: found("endpoint.disabled"))

        assert event["data"].pop("since")
        assert event["data"] == {"endpoint": "crm", "channel": "call", "reason": "http 410"}
        assert '"endpoints.crm": "http 410"' in up.run("status", "--json").stdout
        assert "promocast channel resume endpoints.crm" in up.run("doctor", check=False).stdout
        world.crm.script = None
        assert up.run("channel", "resume", "endpoints.crm").stdout == "endpoints.crm goes on\n"
        eventually("the call is made", lambda: world.crm.bodies)
        assert len(world.crm.requests) == 2, "nothing was tried in between"
