"""Every setting, with its default. `config/promocast.toml` shows them all with their reasons; a test holds the two
together. How they are read is in `loading.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from promocast.model import DAY, HOUR, MINUTE, SECOND
from promocast.settings.channels import (
    LEASE_RESERVE,
    LONGEST_LIFE_OF_A_CALL,
    CallSettings,
    ChannelSettings,
    ChannelsSettings,
    EmailSettings,
    FcmSettings,
    PopupSettings,
    PushSettings,
    SignedPost,
    SmsSettings,
    TelegramSettings,
    UnknownPolicy,
    WebPushSettings,
)
from promocast.settings.hooks import HookSettings
from promocast.settings.kinds import Duration, IPNetwork, Networks, Secrets, Section

__all__ = [
    "LEASE_RESERVE",
    "LONGEST_LIFE_OF_A_CALL",
    "ApiSettings",
    "BrakeSettings",
    "CallSettings",
    "CapSettings",
    "ChannelSettings",
    "ChannelsSettings",
    "EmailSettings",
    "ExclusionSettings",
    "FcmSettings",
    "HookSettings",
    "IPNetwork",
    "LedgerSettings",
    "LogSettings",
    "MetricsSettings",
    "PopupSettings",
    "PushSettings",
    "QueueSettings",
    "RetentionSettings",
    "SealSettings",
    "Secrets",
    "Settings",
    "SignedPost",
    "SmsSettings",
    "SweepSettings",
    "TelegramSettings",
    "UnknownPolicy",
    "VerificationSettings",
    "WebPushSettings",
    "WorkerSettings",
]


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


class CapSettings(Section):
    """No more than `most` messages to one player within `per`, on the channels together; on all where none is named."""

    channels: tuple[Literal["popup", "email", "push", "telegram", "sms"], ...] = ()
    most: int = Field(ge=1)
    per: Duration = Field(ge=MINUTE, le=366 * DAY)


class ExclusionSettings(Section):
    url: str = ""
    token: SecretStr = SecretStr("")
    allow_private: Networks = ()
    timeout: Duration = Field(2 * SECOND, ge=1, le=5 * SECOND)
    cache: Duration = Field(MINUTE, ge=SECOND)


class VerificationSettings(Section):
    grace: Duration = 10 * MINUTE
    occurred_before: Duration = 72 * HOUR
    occurred_after: Duration = 5 * MINUTE
    max_guesses: int = Field(5, ge=1)


class BrakeSettings(Section):
    times: float = Field(40, ge=0)
    least: int = Field(50_000, ge=1)
    history: int = Field(5, ge=1, le=1_000)


class SealSettings(Section):
    every: Duration = Field(MINUTE, ge=SECOND)
    batch: int = Field(5_000, ge=1, le=50_000)
    head_file: Path | None = None


class RetentionSettings(Section):
    bodies: Duration = Field(30 * DAY, ge=HOUR)
    personal: Duration = Field(180 * DAY, ge=HOUR)


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
    caps: tuple[CapSettings, ...] = ()
    verification: VerificationSettings = VerificationSettings()
    brake: BrakeSettings = BrakeSettings()
    seal: SealSettings = SealSettings()
    retention: RetentionSettings = RetentionSettings()
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
