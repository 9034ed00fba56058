"""Popup and call: one Standard Webhooks POST (standardwebhooks.com, spec 1.0) to a system that the operator named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from promocast import retry, signing
from promocast.channels import guard
from promocast.channels.http import Answer, Http
from promocast.errors import ForbiddenAddress, MaybeSent, NotSent
from promocast.model import MINUTE, SECOND, Clock, Deferred, Failed, Halted, Message, Outcome, Rejected, Sent, rfc3339
from promocast.settings import CallSettings, ChannelSettings, PopupSettings, SignedPost

# What the specification wants held back: the endpoint asks for it, or its gateway is overwhelmed.
THROTTLED = frozenset({408, 425, 429, 502, 504})
BUSY = frozenset({500, 503})  # held back where they say for how long

NO_MORE: Mapping[str, str] = {}
REDIRECTS = range(300, 400)
A_FEW = 3


class Target:
    """A configured receiver with its decoded keys, and the transport that reaches what it may reach."""

    def __init__(self, target: SignedPost, http: Http) -> None:
        self.url = target.url
        self.http = http.within(guard.allowance(target.url, target.allow_private))
        self.redirected = 0  # times in a row
        self.keys = [signing.webhook_key(secret.get_secret_value()) for secret in target.secrets]


class Popup:
    """The popup channel: the rendered popup goes to the operator's site, which shows it and reports `when_shown`."""

    asks_gate = True

    def __init__(self, settings: PopupSettings, http: Http, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        receiver = SignedPost(url=settings.url, secrets=settings.secrets, allow_private=settings.allow_private)
        self._target = Target(receiver, http)

    async def send(self, message: Message) -> Outcome:
        body = popup_body(message, self._clock())
        return await post(self._target, message.key, body, self._settings, self._clock)

    async def close(self) -> None:
        return None


class Call:
    """The call channel: a journey's request to one of the operator's endpoints. `address` is the endpoint's name."""

    asks_gate = True

    def __init__(self, settings: CallSettings, endpoints: Mapping[str, SignedPost], http: Http, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._targets = {name: Target(endpoint, http) for name, endpoint in endpoints.items()}

    async def send(self, message: Message) -> Outcome:
        target = self._targets.get(str(message.address))
        if target is None:
            return Rejected("not_configured", address_dead=False)
        body = message.content["body"].encode()
        return await post(
            target,
            message.key,
            body,
            self._settings,
            self._clock,
            method=message.method,
            headers=message.headers,
        )

    async def close(self) -> None:
        return None


def popup_body(message: Message, now: int) -> bytes:
    """The popup as contract section 5 fixes it; keys without a template are null."""
    content = message.content
    data = {
        "delivery_id": message.key,
        "player_id": message.player_id,
        "campaign": message.campaign,
        "code": message.code,
        **{key: content.get(key) for key in ("title", "body", "cta_text", "cta_link", "image_url")},
        "when_shown": message.when_shown,
        "expires_at": None if message.expires_at is None else rfc3339(message.expires_at),
        "locale": message.locale,
    }
    return orjson.dumps({"type": "popup", "timestamp": rfc3339(now), "data": data})


async def post(
    target: Target,
    key: str,
    body: bytes,
    settings: ChannelSettings,
    clock: Clock,
    *,
    method: str = "POST",
    headers: Mapping[str, str] = NO_MORE,
) -> Outcome:
    """Sign, post, read. The bytes that are signed are the bytes that are sent.

    Args:
        headers: what goes along besides, by names in lower case. Whatever it holds, the signature's are ours.
    """
    ours = {"content-type": "application/json", "user-agent": "promocast", **headers}
    ours |= signing.webhook_headers(target.keys, key, clock() // SECOND, body) if target.keys else {"webhook-id": key}
    try:
        answer = await target.http.request(
            method, target.url, body, ours, connect_timeout=settings.connect_timeout, timeout=settings.timeout
        )
    except ForbiddenAddress as exc:
        return Halted(exc.cause)
    except NotSent as exc:
        return Failed(exc.cause, maybe_sent=False)
    except MaybeSent as exc:
        return Failed(exc.cause, maybe_sent=True)
    outcome = read(answer, clock, redirected=target.redirected)
    target.redirected = target.redirected + 1 if answer.status in REDIRECTS else 0
    return outcome


def read(answer: Answer, clock: Callable[[], int], *, redirected: int = 0) -> Outcome:
    """What a receiver's answer means (specification: only 2xx is success, redirects are not followed).

    Args:
        redirected: how many requests before this one were redirected in a row. One may be a balancer's mood; a few mean
            that the configured address is not the receiver's any more.
    """
    status, asked = answer.status, answer.headers.get("retry-after")
    why = f"http {status}"
    if 200 <= status < 300:
        return Sent()
    if status in THROTTLED or (status in BUSY and asked):
        # One system takes all of them: what it asks of one it asks of all.
        return Deferred(retry.retry_after(asked, clock(), MINUTE), why, account=True)
    if status == 410:
        return Halted(why, gone=True)
    if status in REDIRECTS and redirected + 1 >= A_FEW:
        return Halted(why)
    if status == 413:
        return Rejected(why, address_dead=False)
    return Failed(why, maybe_sent=False)
