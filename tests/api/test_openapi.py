"""The API's description: whole, true to the routes, and without loose ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from pydantic import SecretStr

from promocast.settings import QueueSettings, Settings
from tests.api.conftest import Api
from tests.conftest import StoppedClock

OPEN = {("get", "/healthz"), ("get", "/readyz")}
# Proven by a provider's signature, by a source's secret, or by a token of ours.
PROVEN_OTHERWISE = {
    ("post", "/v1/callbacks/{channel}"),
    ("post", "/v1/hooks/{source}"),
    ("get", "/u/{token}"),
    ("post", "/u/{token}"),
}
# Whose address says all there is to say.
WITHOUT_A_BODY = ("/u/{token}", "/pause", "/resume", "/cancel", "/confirm")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, portal: BlockingPortal) -> Iterator[Api]:
    """An API that is only asked for its description: it has neither ledger nor queue."""
    queue = QueueSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    made = Api(Settings(data_dir=tmp_path_factory.mktemp("data"), queue=queue), StoppedClock(), portal)
    yield made
    made.runtime.close()


@pytest.fixture(scope="module")
def description(api: Api) -> dict[str, Any]:
    answer = api.stranger().get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture
def operations(description: dict[str, Any]) -> list[Operation]:
    """[(method, path, operation)]"""
    return [(method, path, told) for path, item in description["paths"].items() for method, told in item.items()]


def test_it_is_openapi_3_1_with_a_title_and_a_version(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    assert description["info"]["title"] == "promocast"
    assert description["info"]["version"]


def test_every_route_is_described_and_nothing_else(api: Api, operations: list[Operation]) -> None:
    described = {(method.upper(), path) for method, path, _ in operations}

    assert described == api.routes() - {("GET", "/openapi.json")}


def test_the_calls_that_the_contract_fixes_are_described(description: dict[str, Any]) -> None:
    fixed = {
        "/v1/issue": {"post"},
        "/v1/requests/{request_id}": {"get"},
        "/v1/codes": {"get", "post"},
        "/v1/codes/lookup": {"post"},
        "/v1/codes/{code}": {"get"},
        "/v1/codes/{code}/validate": {"post"},
        "/v1/codes/{code}/revoke": {"post"},
        "/v1/events/client-action": {"post"},
        "/v1/events": {"get"},
        "/v1/deposits": {"get", "post"},
        "/v1/deposits/{deposit_id}": {"get"},
        "/v1/players/{player_id}": {"get", "put"},
        "/v1/callbacks/{channel}": {"post"},
        "/v1/hooks/{source}": {"post"},
        "/u/{token}": {"get", "post"},
        "/healthz": {"get"},
        "/readyz": {"get"},
    }

    assert {path: methods - description["paths"].get(path, {}).keys() for path, methods in fixed.items()} == {
        path: set() for path in fixed
    }


def test_an_operation_has_a_name_of_its_own_and_answers(operations: list[Operation]) -> None:
    names = [operation["operationId"] for _, _, operation in operations]

    assert len(set(names)) == len(names)
    for method, path, operation in operations:
        assert any(status.startswith("2") for status in operation["responses"]), (method, path)
        assert all("description" in response for response in operation["responses"].values()), (method, path)


def test_every_call_but_health_says_in_a_sentence_what_it_does(operations: list[Operation]) -> None:
    silent = {(method, path) for method, path, operation in operations if not operation.get("description")}

    assert silent <= OPEN


def test_every_placeholder_of_a_path_is_a_required_parameter(operations: list[Operation]) -> None:
    for _, path, operation in operations:
        placeholders = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        parameters = [told for told in operation.get("parameters", []) if told["in"] == "path"]

        assert {told["name"] for told in parameters if told["required"]} == placeholders, path


def test_every_call_but_health_asks_for_a_bearer_key(description: dict[str, Any], operations: list[Operation]) -> None:
    schemes = description["components"]["securitySchemes"]
    bearer = {name for name, scheme in schemes.items() if (scheme["type"], scheme["scheme"]) == ("http", "bearer")}

    unguarded = {
        (method, path)
        for method, path, operation in operations
        if not any(needed.keys() & bearer for needed in operation.get("security", []))
    }

    assert unguarded == OPEN | PROVEN_OTHERWISE


def test_every_body_that_is_taken_is_described(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        if method in ("post", "put") and not path.endswith(WITHOUT_A_BODY):
            schema = operation["requestBody"]["content"]["application/json"]["schema"]

            assert schema.keys() & {"$ref", "properties", "oneOf"}, (method, path)


def test_no_reference_leads_nowhere(description: dict[str, Any]) -> None:
    dangling = {reference for reference in references(description) if not resolves(description, reference)}

    assert dangling == set()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def resolves(document: dict[str, Any], reference: str) -> bool:
    """Whether a JSON pointer into the document finds something."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found is not None
