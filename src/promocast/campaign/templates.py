"""Templates: Liquid, compiled once per campaign version, escaped for where the text goes.

HTML is escaped as HTML; a JSON body's values are escaped as JSON strings, so that none can break it; a header gets no
line breaks; everything else is plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, TextIO

from liquid import BoundTemplate, Environment
from liquid.builtin.output import Output, OutputNode
from liquid.context import RenderContext
from liquid.exceptions import LiquidError
from liquid.stringify import to_liquid_string

from promocast.campaign.document import Campaign
from promocast.campaign.rule import Rule, is_json
from promocast.reading import pointer_of

Values = Mapping[str, Any]

ROOTS: Final = frozenset({"label", "player", "event", "campaign", "message"})
_HEADERS: Final = frozenset({("email", "subject")})
_HTML: Final = frozenset({("email", "html")})
# Tags that print a value past the escaping below, or reach for other files.
_TAGS_LEFT_OUT: Final = frozenset(
    {
        "block",
        "cycle",
        "decrement",
        "echo",
        "extends",
        "include",
        "increment",
        "liquid",
        "render",
        "tablerow",
        "ifchanged",
    }
)


class _Plain(Environment):
    loop_iteration_limit: ClassVar[int | None] = 1_000
    output_stream_limit: ClassVar[int | None] = 256 * 1024
    local_namespace_limit: ClassVar[int | None] = 256 * 1024


class _JsonOutputNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        value = to_liquid_string(self.expression.evaluate(context), autoescape=False)
        return buffer.write(json.dumps(value, ensure_ascii=False)[1:-1])


class _JsonOutput(Output):
    node_class = _JsonOutputNode


def _environment(*, html: bool = False, json_body: bool = False) -> Environment:
    env = _Plain(autoescape=html)
    if json_body:
        env.add_tag(_JsonOutput)
        # What it captures is escaped already, and would be again where it is put out.
        env.tags.pop("capture")
    for tag in _TAGS_LEFT_OUT:
        env.tags.pop(tag, None)
    env.filters.pop("safe", None)  # the one filter whose result passes the escaping
    return env


_TEXT: Final = _environment()
_HTML_ENV: Final = _environment(html=True)
_JSON: Final = _environment(json_body=True)


class Templates:
    """All templates of one campaign version, ready to render.

    Raises:
        LiquidError: on construction, where a template does not parse; `faults` finds them all first.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._channels: dict[str, dict[str, BoundTemplate]] = {
            channel: {key: _env_of(channel, key).from_string(text) for key, text in template.items()}
            for channel, template in campaign.templates.items()
        }
        self._bodies = {
            i: _body_env(rule).from_string(rule.body) for i, rule in enumerate(campaign.journey) if rule.body
        }
        self._headers = {
            i: {name.lower(): _TEXT.from_string(text) for name, text in rule.headers.items()}
            for i, rule in enumerate(campaign.journey)
        }

    def render(self, channel: str, values: Values) -> dict[str, str]:
        """The channel's content by template key; a channel without a template says what the popup says, as text.

        Raises:
            LiquidError: a limit was passed, or a value does not suit a filter.
        """
        template = self._channels.get(channel)
        if template is None:
            return self._as_popup(channel, values)
        rendered = {key: part.render(**values) for key, part in template.items()}
        return {key: _one_line(text) if (channel, key) in _HEADERS else text for key, text in rendered.items()}

    def body(self, rule: int, values: Values) -> str | None:
        """The rule's own body, or None where the contract's default body is to be used."""
        template = self._bodies.get(rule)
        return None if template is None else template.render(**values)

    def headers(self, rule: int, values: Values) -> dict[str, str]:
        """The rule's own headers, each of one line, by their names in lower case."""
        return {name: _visible(template.render(**values)) for name, template in self._headers[rule].items()}

    def _as_popup(self, channel: str, values: Values) -> dict[str, str]:
        popup = {key: part.render(**values) for key, part in self._channels.get("popup", {}).items()}
        title, body = popup.get("title", ""), popup.get("body", "")
        match channel:
            case "email":
                return {"subject": _one_line(title), "text": body}
            case "push":
                return {"title": title, "body": body}
            case "telegram" | "sms":
                return {"text": "\n".join(part for part in (title, body) if part)}
            case _:
                return popup


def faults(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """(JSON pointer, reason) of every template that does not parse or names what it cannot have."""
    for channel, template in campaign.templates.items():
        for key, text in template.items():
            yield from _faults_of(_env_of(channel, key), text, pointer_of(["templates", channel, key]), campaign)
    for i, rule in enumerate(campaign.journey):
        for name, text in rule.headers.items():
            yield from _faults_of(_TEXT, text, pointer_of(["journey", i, "headers", name]), campaign)
        if rule.body is not None:
            pointer = f"/journey/{i}/body"
            yield from _faults_of(_body_env(rule), rule.body, pointer, campaign)
            if is_json(rule.content_type):
                yield from _json_faults(rule.body, pointer)


def _faults_of(env: Environment, text: str, pointer: str, campaign: Campaign) -> Iterator[tuple[str, str]]:
    try:
        template = env.from_string(text)
    except LiquidError as exc:
        yield pointer, f"no Liquid template: {exc.message}"
        return
    analysis = template.analyze()
    for name in sorted(analysis.filters.keys() - env.filters.keys()):
        yield pointer, f"there is no filter {name!r}"
    for name, uses in analysis.globals.items():
        if name not in ROOTS:
            yield pointer, f"{{{{ {name} }}}} is nothing that a template has; it has {', '.join(sorted(ROOTS))}"
        elif name == "label":
            for use in uses:
                tag = use.segments[1] if len(use.segments) > 1 else None
                if not isinstance(tag, str) or tag not in campaign.label_tags:
                    yield pointer, f"there is no label tag {tag!r}"


def _json_faults(body: str, pointer: str) -> Iterator[tuple[str, str]]:
    """A body must be JSON whatever its values are; the worst of them stands for all."""
    worst = 'a"b\\c\n'
    sample: BoundTemplate
    try:
        sample = _JSON.from_string(body)
        json.loads(sample.render(**dict.fromkeys(ROOTS, _Anything(worst))))
    except LiquidError:
        return  # said above, or a matter of real values
    except ValueError as exc:
        yield pointer, f"does not make JSON: {exc}"


class _Anything(dict[str, Any]):
    """Has every key, each with the same value."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __getitem__(self, key: str) -> str:
        return self._value

    def __contains__(self, key: object) -> bool:
        return True


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _visible(text: str) -> str:
    """A header's value: what a client cannot send, and a proxy might read as more than one, is left out."""
    return "".join(c for c in _one_line(text) if c.isprintable())


def _body_env(rule: Rule) -> Environment:
    """Values are escaped for JSON, unless the rule sends something else."""
    return _JSON if is_json(rule.content_type) else _TEXT


def _env_of(channel: str, key: str) -> Environment:
    return _HTML_ENV if (channel, key) in _HTML else _TEXT
