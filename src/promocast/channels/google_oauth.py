"""Access tokens of a Google service account (RFC 7523), for the shared transport.

Of google-auth only the signature is used. Its `refresh` blocks, sleeps between retries of its own and reads the
machine's clock; here a token is one request on the shared transport, and whoever needs it meanwhile waits for that one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import google.auth.crypt
import google.auth.jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from promocast import gate, retry
from promocast.channels import guard
from promocast.channels.http import Http
from promocast.errors import ForbiddenAddress, NotSent, TransportError
from promocast.model import HOUR, MINUTE, SECOND, Clock, Deferred, Failed, Halted, Instant, Outcome
from promocast.settings import FcmSettings

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
# Google wants this very audience, wherever token_uri leads (developers.google.com/identity/protocols/oauth2).
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RENEW_BEFORE: Final = 5 * MINUTE


class _Model(BaseModel):
    # Without this pydantic quotes what it was given in its messages: keys and tokens.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class _TokenAnswer(_Model):
    access_token: str = Field(min_length=1)
    expires_in: int = Field(HOUR // SECOND, gt=0)


class NoToken(Exception):
    """There is no access token, so nothing was sent; `outcome` says so to the ledger."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__()


class Deadline:
    """The end of one send, refreshed token and second post included: the lease of its claim counts on it."""

    def __init__(self, milliseconds: int) -> None:
        self._whole = milliseconds
        self._time = asyncio.get_running_loop().time
        self._end = self._time() + milliseconds / SECOND

    def left(self) -> int:
        return round((self._end - self._time()) * SECOND)

    def enough_to_send(self) -> int:
        """Milliseconds left. Too few of them would only make a post whose fate nobody knows.

        Raises:
            NotSent: less than a quarter of the time is left.
        """
        left = self.left()
        if left < self._whole // 4:
            raise NotSent("no_time_left")
        return left


class ServiceAccount(_Model):
    """A Google service account, as its JSON key file has it."""

    client_email: str = Field(min_length=1)
    private_key: SecretStr
    private_key_id: str = ""
    token_uri: str = Field(min_length=1)
    project_id: str = ""

    @classmethod
    def load(cls, credentials: str) -> ServiceAccount:
        """Read the JSON itself (it begins with "{") or the file of that path.

        Raises:
            ValueError: no such file, or no service account in it. The message does not quote `credentials`.
        """
        text = credentials.strip()
        if not text.startswith("{"):
            try:
                text = Path(text).read_text(encoding="utf-8")
            except OSError as exc:
                raise ValueError(f"`credentials` is neither JSON nor a readable file: {exc.strerror}") from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'JSON'}: {e['msg']}" for e in exc.errors())
            raise ValueError(f"`credentials` is no service account: {faults}") from None

    def signer(self) -> google.auth.crypt.RSASigner:
        """Signs with RS256.

        Raises:
            ValueError: `private_key` is no unencrypted RSA key in PEM.
        """
        try:
            key = load_pem_private_key(self.private_key.get_secret_value().encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("`credentials`: private_key is no RSA key in PEM")  # noqa: TRY004 - a value of the settings
        return google.auth.crypt.RSASigner(key, self.private_key_id or None)  # type: ignore[no-untyped-call]


class AccessTokens:
    """Access tokens of a service account (RFC 7523 section 2.1). However many sends need one, one request gets it."""

    def __init__(self, account: ServiceAccount, settings: FcmSettings, http: Http, clock: Clock) -> None:
        self._account = account
        self._signer = account.signer()
        self._settings = settings
        # The credentials are the operator's, as promocast.toml is, and so is the address in them.
        self._http = http.within(guard.allowance(account.token_uri, settings.allow_private))
        self._clock = clock
        self._token = ""
        self._renew_at: Instant = 0
        self._fetching: asyncio.Task[Outcome | None] | None = None

    async def get(self, deadline: Deadline, refused: str = "") -> str:
        """A token that is good for minutes to come, and is not `refused`.

        Waits half of what is left until `deadline` at most: the rest is for the message.

        Raises:
            NoToken: there is none; the message was not sent.
        """
        if self._token in ("", refused) or self._clock() >= self._renew_at:
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._fetch())
            try:
                async with asyncio.timeout(deadline.left() / 2 / SECOND):
                    # Shielded: whoever is cancelled leaves the others their token.
                    outcome = await asyncio.shield(self._fetching)
            except TimeoutError:
                outcome = Failed("fcm token timeout", maybe_sent=False)
            if outcome is not None:
                raise NoToken(outcome)
        return self._token

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetch(self) -> Outcome | None:
        try:
            with gate.unasked():
                return await self._request()
        finally:
            self._fetching = None

    async def _request(self) -> Outcome | None:
        now = self._clock()
        form = urlencode({"grant_type": JWT_BEARER, "assertion": self._assertion(now // SECOND)})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        settings = self._settings
        try:
            answer = await self._http.post(
                self._account.token_uri,
                form.encode(),
                headers,
                connect_timeout=settings.connect_timeout,
                timeout=settings.timeout,
            )
        except ForbiddenAddress as exc:
            return Halted(f"fcm token {exc.cause}")
        except TransportError as exc:
            # Whatever became of this request, the message was not sent.
            return Failed(f"fcm token {exc.cause}", maybe_sent=False)
        why = f"fcm token {answer.status}"
        if answer.status == 429:
            return Deferred(retry.retry_after(answer.headers.get("retry-after"), now, MINUTE), why)
        if 400 <= answer.status < 500 and answer.status != 408:
            return Halted(why)  # invalid_grant and its kin (RFC 6749 section 5.2): the account, its key, our clock
        try:
            token = _TokenAnswer.model_validate_json(answer.body if answer.status == 200 else b"")
        except ValidationError:
            return Failed(why, maybe_sent=False)
        life = token.expires_in * SECOND
        self._token = token.access_token
        self._renew_at = now + max(life - RENEW_BEFORE, life // 2)
        return None

    def _assertion(self, seconds: int) -> str:
        claims = {
            "iss": self._account.client_email,
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": seconds,
            "exp": seconds + HOUR // SECOND,
        }
        assertion: bytes = google.auth.jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return assertion.decode()
