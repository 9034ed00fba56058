"""Google's side of FCM: the OAuth token endpoint, and messages:send with a strict eye on the message's form."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from promocast.model import HOUR, SECOND, Clock, Instant, system_clock
from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script

PROJECT = "promocast-demo"
ACCOUNT = f"promocast@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LARGEST_PAYLOAD = 4096
TOKEN_LIFE = HOUR


class _Shape(BaseModel):
    """Google refuses unknown fields, and takes both spellings of a known one (ProtoJSON)."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel, validate_by_name=True)


class Notification(_Shape):
    title: str = ""
    body: str = ""
    image: str = ""


class AndroidNotification(_Shape):
    tag: str = ""


class Android(_Shape):
    collapse_key: str = ""
    ttl: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d{1,9})?s$")] = "2419200s"
    notification: AndroidNotification = AndroidNotification()


class ApnsHeaders(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    collapse_id: Annotated[str, StringConstraints(max_length=64)] = Field("", alias="apns-collapse-id")
    expiration: Annotated[str, StringConstraints(pattern=r"^\d+$")] = Field("0", alias="apns-expiration")


class Apns(_Shape):
    headers: ApnsHeaders = ApnsHeaders()
    payload: dict[str, Any] = {}


class WebpushHeaders(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    ttl: Annotated[str, StringConstraints(pattern=r"^\d+$")] = Field("2419200", alias="TTL")
    topic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field("", alias="Topic")
    urgency: str = Field("normal", alias="Urgency")


class WebpushOptions(_Shape):
    link: Annotated[str, StringConstraints(pattern=r"^https://")] = ""


class Webpush(_Shape):
    headers: WebpushHeaders = WebpushHeaders()
    notification: dict[str, Any] = {}
    fcm_options: WebpushOptions = WebpushOptions()


class FcmMessage(_Shape):
    """What `message` may hold, of that which promocast uses."""

    token: str
    notification: Notification = Notification()
    data: dict[str, str] = {}
    android: Android = Android()
    apns: Apns = Apns()
    webpush: Webpush = Webpush()


class SendRequest(_Shape):
    message: FcmMessage
    validate_only: bool = False


class FcmServer(HttpStandin):
    """Both endpoints on one port. `messages` holds what was accepted, parsed.

    `new_device` and `forget` say which registration tokens are alive; `revoke` makes every access token worthless.
    """

    def __init__(self, clock: Clock = system_clock, script: Script | None = None) -> None:
        super().__init__(script)
        self.messages: list[FcmMessage] = []
        self._clock = clock
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._devices: dict[str, bool] = {}
        self._issued: dict[str, Instant] = {}

    @property
    def sends(self) -> list[Received]:
        """Of `requests`, those to messages:send."""
        return [request for request in self.requests if is_send(request)]

    @property
    def grants(self) -> list[Received]:
        """Of `requests`, those to the token endpoint."""
        return [request for request in self.requests if not is_send(request)]

    def service_account_json(self) -> str:
        """The key file that Google's console would offer for download; its token_uri is this server."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return orjson.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": "f00d",
                "private_key": pem,
                "client_email": ACCOUNT,
                "client_id": "1",
                "token_uri": f"{self.url}/token",
                "universe_domain": "googleapis.com",
            }
        ).decode()

    def new_device(self) -> str:
        """The registration token of an app that was just installed."""
        token = f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(96)}"
        self._devices[token] = True
        return token

    def forget(self, token: str) -> None:
        """The app was removed from that device."""
        self._devices[token] = False

    def revoke(self) -> None:
        self._issued.clear()

    async def answer(self, request: Received) -> Reply | Fault:
        if request.method == "POST" and request.path == "/token":
            return self._grant(request)
        if request.method == "POST" and request.path == f"/v1/projects/{PROJECT}/messages:send":
            return self._send(request)
        return error(404, "NOT_FOUND")

    def _grant(self, request: Received) -> Reply:
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != [GRANT]:
            return _json(400, {"error": "unsupported_grant_type"})
        try:
            claims = self._verified(form["assertion"][0])
        except (InvalidSignature, ValueError, KeyError):
            return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        now = self._clock() // SECOND
        if (claims.get("iss"), claims.get("aud"), claims.get("scope")) != (ACCOUNT, AUDIENCE, SCOPE):
            return _json(400, {"error": "invalid_grant", "error_description": "Wrong claims."})
        if not (claims["iat"] <= now < claims["exp"] <= claims["iat"] + HOUR // SECOND):
            return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT: check iat and exp."})
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._issued[token] = self._clock() + TOKEN_LIFE
        return _json(200, {"access_token": token, "expires_in": TOKEN_LIFE // SECOND, "token_type": "Bearer"})

    def _verified(self, assertion: str) -> dict[str, Any]:
        """The claims of an RS256 token (RFC 7515) that our key signed."""
        signed, _, signature = assertion.rpartition(".")
        header, claims = (orjson.loads(_decode(part)) for part in signed.split("."))
        if header["alg"] != "RS256":
            raise ValueError("another algorithm")
        self._key.public_key().verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return dict(claims)

    def _send(self, request: Received) -> Reply:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._issued.get(token, 0) <= self._clock():
            return error(401, "UNAUTHENTICATED")
        try:
            message = SendRequest.model_validate_json(request.body).message
        except ValidationError as exc:
            return error(400, "INVALID_ARGUMENT", _bad_request(exc))
        counted = {"notification": message.notification.model_dump(exclude_unset=True), "data": message.data}
        if len(orjson.dumps(counted)) > LARGEST_PAYLOAD or message.token not in self._devices:
            # Google says the same of a payload that is too large and of a token that never was one.
            return error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"))
        if not self._devices[message.token]:
            return error(404, "NOT_FOUND", fcm_error("UNREGISTERED"))
        self.messages.append(message)
        return _json(200, {"name": f"projects/{PROJECT}/messages/0:{len(self.messages):016d}"})


def is_send(request: Received) -> bool:
    return request.path.endswith("/messages:send")


def error(status: int, code: str, *details: dict[str, Any]) -> Reply:
    """An error as Google's APIs write them (google.rpc.Status)."""
    body = {"code": status, "message": "In words.", "status": code, "details": details}
    return _json(status, {"error": body})


def fcm_error(code: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}


def _bad_request(exc: ValidationError) -> dict[str, Any]:
    violations = [{"field": ".".join(map(str, e["loc"])), "description": e["msg"]} for e in exc.errors()]
    return {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}


def _json(status: int, value: dict[str, Any]) -> Reply:
    return Reply(status, orjson.dumps(value), {"content-type": "application/json; charset=UTF-8"})


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
