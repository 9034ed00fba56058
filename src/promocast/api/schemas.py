"""JSON schemas for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema with its definitions in their places: references would lead nowhere inside OpenAPI."""
    schema = model.model_json_schema()
    resolved = _resolved(schema, schema.get("$defs", {}))
    assert isinstance(resolved, dict)  # noqa: S101 - a model's schema is an object
    return resolved


def _resolved(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _resolved(definitions[value["$ref"].rpartition("/")[2]], definitions)
    # A discriminator's mapping refers to definitions as well; the kinds say as much.
    return {key: _resolved(item, definitions) for key, item in value.items() if key not in ("$defs", "discriminator")}
