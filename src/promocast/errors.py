"""Every error that promocast raises on purpose.

PromocastError            what went wrong, and what to do about it, in one sentence
|- ConfigError            promocast.toml, the environment, or a secret's file
|- CampaignError          a campaign document; carries the faults with their lines
|- InputError             a job, body, file or address that cannot be accepted; carries `reason`
|  |- UnknownCampaign
|  |- Conflict            the same identity with other content
|  `- NotFound
|- LedgerError            the book itself
|  `- LedgerUnavailable   it does not answer; waiting helps
|- ExclusionUnavailable   nobody says who must not be contacted; nobody is
|- QueueUnavailable       the doorbell does not answer; the sweeper rings later
`- TransportError         a request to a provider, by what is known of it
   |- NotSent             surely not taken
   |- ForbiddenAddress    never begun, and never will be: the guard refuses where it leads
   `- MaybeSent           may or may not have been taken
"""

from __future__ import annotations

from dataclasses import dataclass


class PromocastError(Exception):
    """The root. `str()` of it is written for the person who has to act."""

    def for_log(self) -> str:
        """What a log may say of it. Nothing, but where every word is known to be ours: an error may quote what it was
        given, or what the operator wrote."""
        return ""


class ConfigError(PromocastError):
    """The configuration is wrong; nothing was started."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document: where (a JSON pointer, and a line where the source has lines) and why."""

    pointer: str
    reason: str
    line: int | None = None


class CampaignError(PromocastError):
    """A campaign document was refused. `faults` says where and why, `source` names the file."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = faults
        super().__init__("\n".join(f"{source}:{f.line or 1}: {f.pointer or '/'}: {f.reason}" for f in faults))


class InputError(PromocastError):
    """Input that was not accepted. `reason` is the machine-readable word for it."""

    def __init__(self, reason: str, detail: str, faults: list[Fault] | None = None) -> None:
        self.reason = reason
        self.detail = detail
        self.faults = faults or []
        super().__init__(detail)

    def for_log(self) -> str:
        return self.reason


class UnknownCampaign(InputError):
    """No campaign of that id was ever applied."""

    def __init__(self, campaign: str) -> None:
        super().__init__(
            "unknown_campaign", f"No campaign {campaign!r} is in force. `promocast campaign list` shows those that are."
        )


class Conflict(InputError):
    """The same identity came again with other content."""


class NotFound(InputError):
    """What was asked for is not in the ledger."""


class LedgerError(PromocastError):
    """The ledger refuses: wrong schema, or an invariant does not hold. Names rows by their ids, and quotes nothing."""

    def for_log(self) -> str:
        return str(self)


class LedgerUnavailable(LedgerError):
    """The database does not answer."""


class Withheld(PromocastError):
    """The gate closed between the claim of a delivery and the first byte of its message; `reason` says why.

    `again_in` is in how many milliseconds it may be tried again; None: never.
    """

    def __init__(self, reason: str, again_in: int | None = None) -> None:
        self.reason = reason
        self.again_in = again_in
        super().__init__(reason)

    def for_log(self) -> str:
        return self.reason


class ExclusionUnavailable(PromocastError):
    """The exclusion service does not answer, or not so that it can be understood. `cause` is a short word for a log."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"The exclusion service does not answer as it should ({cause}); no player is sent to.")


class QueueUnavailable(PromocastError):
    """The queue does not answer. Nothing is lost: the sweeper rings again for all that is due."""

    def for_log(self) -> str:
        return str(self)


class TransportError(PromocastError):
    """A request to a provider failed. `cause` is a short word for a log; the exception's cause has the rest."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)

    def for_log(self) -> str:
        return self.cause


class NotSent(TransportError):
    """The request surely did not reach the provider."""


class ForbiddenAddress(TransportError):
    """The URL, or every address that it leads to, is one that is never connected to. Trying again changes nothing."""


class MaybeSent(TransportError):
    """The provider may or may not have taken the request."""
