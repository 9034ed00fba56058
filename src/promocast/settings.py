"""Every setting, with its default. `config/promocast.toml` shows them all with their reasons; a test holds the two
together. How they are read is in `loading.py`."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from promocast.model import DAY, HOUR, MINUTE, SECOND, parse_duration
from promocast.money import parse_currency
from promocast.signing import webhook_key


def _duration(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError('is no duration; write a number and a unit, as in "10s"')  # noqa: TRY004 - pydantic wants this one
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[int, BeforeValidator(_duration), Field(ge=0)]
# Two while a rotation lasts. The text of a `..._FILE` has one a line.
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]
UnknownPolicy = Literal["resend", "once", "wait"]

# What a lease holds beyond the longest send: so long may pass between the claim and the send, in milliseconds.
LEASE_RESERVE: Final = 5 * SECOND

IPNetwork = IPv4Network | IPv6Network


def _networks(value: Any) -> tuple[IPNetwork, ...]:
    if isinstance(value, str):  # of the environment
        value = {"true": True, "false": False}.get(value.lower(), [value])
    if isinstance(value, bool):
        return (ip_network("0.0.0.0/0"), ip_network("::/0")) if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError('is true, false, or a list of networks as ["10.0.0.0/8"]')  # noqa: TRY004 - pydantic wants this one
    return tuple(each if isinstance(each, IPNetwork) else ip_network(str(each)) for each in value)


# The networks that `allow_private` opens beyond the public ones.
Networks = Annotated[tuple[IPNetwork, ...], BeforeValidator(_networks)]


# Keys, and places in lists, with dots between them: "data.payments.0.id".
_PATH: Final = r"^[^.]+(\.[^.]+)*$"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ApiSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$")] = ""
    max_body: int = Field(32 * 1024 * 1024, gt=0)


class LedgerSettings(Section):
    url: SecretStr = SecretStr("")
    pool_size: int = Field(10, ge=1)


class QueueSettings(Section):
    url: SecretStr = SecretStr("")
    port: int = Field(6399, ge=0, le=65535)


class WorkerSettings(Section):
    issue_threads: int = Field(2, ge=1)
    verify_threads: int = Field(2, ge=1)
    deliver_threads: int = Field(2, ge=1)
    stop_grace: Duration = 8 * SECOND


class SweepSettings(Section):
    every: Duration = 500
    ring_after: Duration = SECOND
    batch: int = Field(2_000, ge=1)


class ChannelSettings(Section):
    """What every channel has. `use` is `builtin`, `outbox`, or the dotted path of somebody else's adapter."""

    use: str = "builtin"
    options: dict[str, Any] = {}
    concurrency: int = Field(32, ge=1, le=2000)
    rate: float = Field(0, ge=0)
    connect_timeout: Duration = 3 * SECOND
    timeout: Duration = 8 * SECOND
    max_attempts: int = Field(8, ge=1)
    unknown: UnknownPolicy = "resend"
    unknown_after: Duration = 15 * MINUTE

    @property
    def configured(self) -> bool:
        return self.use != "builtin"

    @property
    def lease(self) -> int:
        """Milliseconds that a claim holds: longer than any send of this channel can take."""
        return self.connect_timeout + self.timeout + LEASE_RESERVE


class SignedPost(Section):
    """Somebody's HTTPS address that takes Standard Webhooks."""

    url: str
    secrets: Secrets = ()
    allow_private: Networks = ()


class PopupSettings(ChannelSettings):
    url: str = ""
    secrets: Secrets = ()
    allow_private: Networks = ()
    concurrency: int = Field(64, ge=1, le=2000)
    disable_after: Duration = 5 * DAY

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.url)


class EmailSettings(ChannelSettings):
    host: str = ""
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    username: str = ""
    password: SecretStr = SecretStr("")
    sender: str = ""
    reply_to: str = ""
    message_id_domain: str = ""
    bounce_address: str = ""
    callback_secret: SecretStr = SecretStr("")
    concurrency: int = Field(16, ge=1, le=500)
    connect_timeout: Duration = 10 * SECOND
    timeout: Duration = 30 * SECOND
    final_dot_timeout: Duration = 2 * MINUTE
    unknown: UnknownPolicy = "once"

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.host)

    @property
    def lease(self) -> int:
        # connect, greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT may each take `timeout` on a bad day; two of them is the
        # most that is waited for before the channel gives the connection up.
        return self.connect_timeout + 2 * self.timeout + self.final_dot_timeout + LEASE_RESERVE


class FcmSettings(ChannelSettings):
    credentials: SecretStr = SecretStr("")
    project: str = ""
    base_url: str = "https://fcm.googleapis.com"
    allow_private: Networks = ()
    timeout: Duration = 10 * SECOND

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.credentials.get_secret_value())


class WebPushSettings(ChannelSettings):
    private_key: SecretStr = SecretStr("")
    subject: str = ""
    origins: tuple[str, ...] = (
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        "web.push.apple.com",
        "*.notify.windows.com",
    )
    allow_private: Networks = ()

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.private_key.get_secret_value())


class PushSettings(Section):
    fcm: FcmSettings = FcmSettings()
    webpush: WebPushSettings = WebPushSettings()


class TelegramSettings(ChannelSettings):
    token: SecretStr = SecretStr("")
    callback_secret: SecretStr = SecretStr("")
    base_url: str = "https://api.telegram.org/bot"
    allow_private: Networks = ()
    concurrency: int = Field(25, ge=1, le=500)
    rate: float = Field(25, ge=0)
    per_chat: Duration = SECOND
    unknown: UnknownPolicy = "wait"

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.token.get_secret_value())


class SmsSettings(ChannelSettings):
    account_sid: str = ""
    auth_token: SecretStr = SecretStr("")
    sender: str = ""
    messaging_service_sid: str = ""
    base_url: str = "https://api.twilio.com"
    allow_private: Networks = ()
    concurrency: int = Field(20, ge=1, le=500)
    timeout: Duration = 15 * SECOND
    unknown: UnknownPolicy = "wait"

    @property
    def configured(self) -> bool:
        return self.use != "builtin" or bool(self.account_sid)


class CallSettings(ChannelSettings):
    max_attempts: int = Field(20, ge=1)
    disable_after: Duration = 5 * DAY

    @property
    def configured(self) -> bool:
        return True  # each endpoint is configured, or not, by itself


class ChannelsSettings(Section):
    popup: PopupSettings = PopupSettings()
    email: EmailSettings = EmailSettings()
    push: PushSettings = PushSettings()
    telegram: TelegramSettings = TelegramSettings()
    sms: SmsSettings = SmsSettings()
    call: CallSettings = CallSettings()


class ExclusionSettings(Section):
    url: str = ""
    token: SecretStr = SecretStr("")
    allow_private: Networks = ()
    timeout: Duration = Field(2 * SECOND, ge=1, le=5 * SECOND)
    cache: Duration = Field(MINUTE, ge=SECOND)


Status = Literal["requested", "approved", "rejected", "cancelled", "rolled_back"]
Fact = Literal[
    "deposit_id", "player_id", "amount", "currency", "status", "payment_method", "occurred_at", "promo_code",
    "deposit_index",
]  # fmt: skip
# For which the presets' systems have no place, or a casino has another.
_FURTHER: Final = frozenset({"promo_code", "deposit_index"})
_NEEDED: Final = frozenset({"deposit_id", "player_id", "amount", "status"})


class HookSettings(Section):
    """A system that posts to /v1/hooks/<source>. Never open to all: it has one secret at least."""

    preset: Literal["smartico", "fasttrack", "generic"]
    auth: Literal["bearer", "basic", "webhook"] = "bearer"
    secrets: Annotated[Secrets, Field(min_length=1)]
    id_prefix: Annotated[str, Field(max_length=64, pattern=r"^[!-~]*$")] = ""
    currency: Annotated[str, AfterValidator(lambda v: parse_currency(v) if v else v)] = ""
    fields: dict[Fact, Annotated[str, Field(pattern=_PATH)]] = {}
    statuses: dict[str, Status | Literal["ignored"]] = {}
    only: dict[Annotated[str, Field(pattern=_PATH)], Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    at: Annotated[str, Field(pattern=rf"^$|{_PATH}")] = ""
    minor_units: bool = False

    @model_validator(mode="after")
    def _secrets_fit(self) -> HookSettings:
        for secret in self.secrets:
            text = secret.get_secret_value()
            if not text:
                raise ValueError("secrets: an empty secret keeps nobody out")
            if self.auth == "basic" and not re.fullmatch(r"[^:]+:.+", text):
                raise ValueError("secrets: for basic each is `user:password`")
            if self.auth == "webhook":
                webhook_key(text)
        return self

    @model_validator(mode="after")
    def _preset_knows_its_fields(self) -> HookSettings:
        if self.preset == "generic":
            if missing := sorted(_NEEDED - self.fields.keys()):
                raise ValueError(f"fields: a generic hook says where to find {', '.join(missing)}")
            if not self.statuses:
                object.__setattr__(self, "statuses", {status: status for status in get_args(Status)})
            return self
        if wrong := sorted(self.fields.keys() - _FURTHER):
            raise ValueError(f"fields: the preset {self.preset} knows where to find {', '.join(wrong)}")
        if self.statuses or self.only or self.at or self.minor_units:
            raise ValueError("statuses, only, at and minor_units are for the preset generic")
        return self


class VerificationSettings(Section):
    grace: Duration = 10 * MINUTE
    occurred_before: Duration = 72 * HOUR
    occurred_after: Duration = 5 * MINUTE
    max_guesses: int = Field(5, ge=1)


class MetricsSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(9464, ge=0, le=65535)


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class Settings(Section):
    data_dir: Path = Path("promocast-data")
    config_dir: Path | None = None
    api: ApiSettings = ApiSettings()
    ledger: LedgerSettings = LedgerSettings()
    queue: QueueSettings = QueueSettings()
    workers: WorkerSettings = WorkerSettings()
    sweep: SweepSettings = SweepSettings()
    channels: ChannelsSettings = ChannelsSettings()
    endpoints: dict[str, SignedPost] = {}
    hooks: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], HookSettings] = {}
    exclusion: ExclusionSettings = ExclusionSettings()
    verification: VerificationSettings = VerificationSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _paths_are_absolute(self) -> Settings:
        # Children of `up` may run elsewhere; the file lock and the queue's password must be the same file for all.
        object.__setattr__(self, "data_dir", self.data_dir.absolute())
        return self

    @property
    def ledger_url(self) -> str:
        """A SQLAlchemy URL; SQLite in the data folder unless one is set."""
        url = self.ledger.url.get_secret_value()
        if not url:
            return f"sqlite:///{self.data_dir / 'ledger.sqlite3'}"
        for scheme in ("postgresql://", "postgres://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        return url

    @property
    def campaigns_dir(self) -> Path | None:
        return self.config_dir / "campaigns" if self.config_dir else None


LONGEST_LIFE_OF_A_CALL = 72 * HOUR
