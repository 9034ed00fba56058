"""The channels' settings: providers' accounts, how fast and how often to send, and what to do when nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from promocast.model import DAY, HOUR, MINUTE, SECOND
from promocast.settings.kinds import Duration, Networks, Secrets, Section

UnknownPolicy = Literal["resend", "once", "wait"]
LONGEST_LIFE_OF_A_CALL: Final = 72 * HOUR

# What a lease holds beyond the longest send: so long may pass between the claim and the send, in milliseconds.
LEASE_RESERVE: Final = 5 * SECOND


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
