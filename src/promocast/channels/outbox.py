"""The outbox: a channel for development and tests that keeps what it was given, and answers what it is told."""

from __future__ import annotations

from collections.abc import Callable

from promocast.model import Message, Outcome, Sent


class Outbox:
    """Keeps every message in `sent`, in order. `answer` decides the outcome; by default all is accepted."""

    def __init__(self, answer: Callable[[Message], Outcome] | None = None) -> None:
        self.sent: list[Message] = []
        self._answer = answer or (lambda message: Sent(f"outbox-{message.key}"))

    async def send(self, message: Message) -> Outcome:
        self.sent.append(message)
        return self._answer(message)

    async def close(self) -> None:
        return None
