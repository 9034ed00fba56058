"""Settings: each layer goes over the one below, and a key that does not exist is an error in all of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from promocast.campaign.caps import Cap
from promocast.errors import ConfigError
from promocast.loading import load
from promocast.model import HOUR, MINUTE, PLAYER_CHANNELS
from promocast.runtime import caps
from promocast.settings import ChannelSettings, Settings

SHIPPED = Path(__file__).parents[2] / "config" / "promocast.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a configuration of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_file(text: str, **environ: str) -> Settings:
    path = Path("promocast.toml")
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


def from_environ(**environ: str) -> Settings:
    return load(environ=environ)


def refusal(text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as refused:
        from_file(text, **environ)
    return str(refused.value)


# Layers.


def test_without_anything_the_defaults_hold() -> None:
    settings = from_environ()

    assert (settings.api.host, settings.api.port, settings.queue.port) == ("127.0.0.1", 8080, 6399)
    assert settings.verification.grace == 10 * MINUTE


def test_the_file_goes_over_the_defaults() -> None:
    settings = from_file('[api]\nport = 9000\n[verification]\ngrace = "1h"\n')

    assert (settings.api.port, settings.verification.grace) == (9000, HOUR)
    assert settings.api.host == "127.0.0.1", "what the file leaves out stays"


def test_the_environment_goes_over_the_file() -> None:
    settings = from_file('[api]\nport = 9000\nhost = "0.0.0.0"\n', PROMOCAST_API__PORT="9001")

    assert (settings.api.port, settings.api.host) == (9001, "0.0.0.0")


def test_a_secrets_file_goes_over_the_environment(folder: Path) -> None:
    secret = folder / "token"
    secret.write_text("from the file\n", encoding="utf-8")

    settings = from_file(
        '[channels.telegram]\ntoken = "from the TOML"\n',
        PROMOCAST_CHANNELS__TELEGRAM__TOKEN="from the environment",
        PROMOCAST_CHANNELS__TELEGRAM__TOKEN_FILE=str(secret),
    )

    assert settings.channels.telegram.token.get_secret_value() == "from the file"


def test_a_file_of_secrets_has_one_a_line(folder: Path) -> None:
    (folder / "secrets").write_text("whsec_new\nwhsec_old\n", encoding="utf-8")

    settings = from_environ(
        PROMOCAST_CHANNELS__POPUP__SECRETS_FILE="secrets",
        PROMOCAST_ENDPOINTS__CRM__URL="https://crm.example.com",
        PROMOCAST_ENDPOINTS__CRM__SECRETS_FILE="secrets",
    )

    for secrets in (settings.channels.popup.secrets, settings.endpoints["crm"].secrets):
        assert [secret.get_secret_value() for secret in secrets] == ["whsec_new", "whsec_old"]


def test_a_setting_whose_own_name_ends_in_file_is_a_path() -> None:
    settings = from_environ(PROMOCAST_CHANNELS__EMAIL__CA_FILE="/etc/ssl/ca.pem")

    assert settings.channels.email.ca_file == Path("/etc/ssl/ca.pem")


def test_the_environment_may_name_the_file(folder: Path) -> None:
    elsewhere = folder / "elsewhere.toml"
    elsewhere.write_text("[api]\nport = 9000\n", encoding="utf-8")

    assert from_environ(PROMOCAST_CONFIG=str(elsewhere)).api.port == 9000


def test_the_file_that_is_asked_for_goes_before_the_one_in_the_environment() -> None:
    assert from_file("[api]\nport = 9000\n", PROMOCAST_CONFIG="not-there.toml").api.port == 9000


def test_the_usual_file_is_read_where_it_is_there(folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "promocast.toml").write_text("[api]\nport = 9000\n", encoding="utf-8")

    settings = from_environ()

    assert settings.api.port == 9000
    assert settings.campaigns_dir == folder / "config" / "campaigns"


def test_variables_of_others_are_no_settings() -> None:
    assert from_environ(PATH="/bin", API__PORT="1", MY_PROMOCAST_API__PORT="1").api.port == 8080


def test_lists_and_tables_are_written_in_the_environment_as_in_toml() -> None:
    settings = from_environ(
        PROMOCAST_CHANNELS__POPUP__SECRETS='["whsec_a", "whsec_b"]',
        PROMOCAST_CHANNELS__SMS__OPTIONS='{ region = "eu", retries = 2 }',
    )

    assert [secret.get_secret_value() for secret in settings.channels.popup.secrets] == ["whsec_a", "whsec_b"]
    assert settings.channels.sms.options == {"region": "eu", "retries": 2}


def test_json_of_credentials_in_the_environment_stays_text() -> None:
    key = '{"type": "service_account", "private_key": "..."}'

    settings = from_environ(PROMOCAST_CHANNELS__PUSH__FCM__CREDENTIALS=key)

    assert settings.channels.push.fcm.credentials.get_secret_value() == key


def test_an_endpoint_may_be_written_in_the_environment() -> None:
    settings = from_environ(PROMOCAST_ENDPOINTS__CRM__URL="https://crm.example.com")

    assert settings.endpoints["crm"].url == "https://crm.example.com"


# Faults.


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[api]\nprot = "1"\n', "api.prot"),
        ("[apis]\nport = 1\n", "apis"),
        ("port = 1\n", "port"),
        ("[channels.sms]\nsernder = 'x'\n", "channels.sms.sernder"),
        ("[channels.fax]\nuse = 'outbox'\n", "channels.fax"),
        ("[endpoints.crm]\nurl = 'https://x'\nsecret = 'x'\n", "endpoints.crm.secret"),
    ],
)
def test_an_unknown_key_in_the_file_is_an_error_that_names_both(text: str, key: str) -> None:
    told = refusal(text)

    assert f"  {key}: " in told
    assert "promocast.toml" in told


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("PROMOCAST_API__PROT", "api.prot"),
        ("PROMOCAST_PORT", "port"),
        ("PROMOCAST_CHANNELS__SMS__SERNDER", "channels.sms.sernder"),
    ],
)
def test_an_unknown_key_in_the_environment_is_an_error_that_names_it(name: str, key: str) -> None:
    told = refusal(**{name: "1"})

    assert f"  {key}: " in told
    assert "environment (PROMOCAST_*)" in told


def test_an_unknown_key_whose_secret_is_in_a_file_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "secret").write_text("s", encoding="utf-8")

    told = refusal(PROMOCAST_CHANNELS__SMS__TOKEN_FILE="secret")

    assert "  channels.sms.token: " in told


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[api]\nport = 65536\n", "api.port"),
        ("[verification]\ngrace = 'soon'\n", "verification.grace"),
        ("[channels.email]\nsecurity = 'ssl'\n", "channels.email.security"),
        ("[channels.sms]\nconcurrency = 0\n", "channels.sms.concurrency"),
        ("[endpoints.crm]\nallow_private = true\n", "endpoints.crm.url"),
        ("[[caps]]\nmost = 0\nper = '24h'\n", "caps.0.most"),
        ("[[caps]]\nmost = 3\nper = '1s'\n", "caps.0.per"),
        ("[[caps]]\nmost = 3\n", "caps.0.per"),
        ("[[caps]]\nmost = 3\nper = '24h'\nchannels = ['call']\n", "caps.0.channels.0"),
    ],
)
def test_a_bad_value_is_an_error_that_names_its_setting(text: str, key: str) -> None:
    assert f"  {key}: " in refusal(text)


def test_every_fault_is_told_at_once() -> None:
    told = refusal("[api]\nprot = 1\nport = 0.5\n", PROMOCAST_LOG__LEVEL="loud")

    assert {line.split(":")[0].strip() for line in told.splitlines()[1:]} == {"api.prot", "api.port", "log.level"}


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=re.escape("no configuration file nowhere.toml")):
        load(Path("nowhere.toml"), {})


def test_a_file_that_is_no_toml_is_an_error_with_its_line() -> None:
    assert "line 2" in refusal("[api]\nport = \n")


def test_a_file_that_is_no_text_is_an_error() -> None:
    Path("promocast.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        load(Path("promocast.toml"), {})


def test_a_secrets_file_that_is_not_there_is_an_error_that_names_the_variable() -> None:
    assert "PROMOCAST_CHANNELS__SMS__AUTH_TOKEN_FILE" in refusal(PROMOCAST_CHANNELS__SMS__AUTH_TOKEN_FILE="gone")


# Secrets.

SECRET = "open-sesame"


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = from_file(
        f"""
        [ledger]
        url = "postgresql://promocast:{SECRET}@db/promocast"
        [queue]
        url = "redis://:{SECRET}@queue"
        [channels.popup]
        secrets = ["{SECRET}"]
        [channels.email]
        password = "{SECRET}"
        [channels.push.fcm]
        credentials = "{SECRET}"
        [channels.push.webpush]
        private_key = "{SECRET}"
        [channels.telegram]
        token = "{SECRET}"
        [channels.sms]
        auth_token = "{SECRET}"
        [endpoints.crm]
        url = "https://crm.example.com"
        secrets = ["{SECRET}"]
        """
    )

    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in settings.model_dump_json()


def test_every_setting_that_sounds_secret_is_kept_as_a_secret() -> None:
    open_ones = [
        ".".join(path)
        for path, value in leaves(Settings())
        if re.search(r"secret|password|token|credentials|private_key$", path[-1])
        and not isinstance(value, SecretStr | tuple)
    ]

    assert open_ones == []


def test_a_bad_secret_is_not_repeated_in_the_error() -> None:
    assert SECRET not in refusal(f"[channels.sms]\nauth_token = ['{SECRET}']\nbase_url = ['{SECRET}']\n")


# What follows from settings.


def test_the_data_folder_is_the_same_wherever_a_child_runs(folder: Path) -> None:
    assert from_environ(PROMOCAST_DATA_DIR="data").data_dir == folder / "data"


@pytest.mark.parametrize(
    ("url", "ledger_url"),
    [
        ("postgresql://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
        ("postgres://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
        ("postgresql+psycopg://u:p@db/x", "postgresql+psycopg://u:p@db/x"),
        ("sqlite:////var/x.sqlite3", "sqlite:////var/x.sqlite3"),
    ],
)
def test_a_ledgers_url_is_understood_as_people_write_it(url: str, ledger_url: str) -> None:
    assert from_environ(PROMOCAST_LEDGER__URL=url).ledger_url == ledger_url


def test_the_ledger_lies_in_the_data_folder_unless_it_is_elsewhere(folder: Path) -> None:
    assert from_environ().ledger_url == f"sqlite:///{folder / 'promocast-data' / 'ledger.sqlite3'}"


@pytest.mark.parametrize(
    ("channel", "key"),
    [
        ("popup", "URL"),
        ("email", "HOST"),
        ("push.fcm", "CREDENTIALS"),
        ("push.webpush", "PRIVATE_KEY"),
        ("telegram", "TOKEN"),
        ("sms", "ACCOUNT_SID"),
    ],
)
def test_a_channel_is_configured_by_its_credentials_or_by_an_adapter_of_ones_own(channel: str, key: str) -> None:
    prefix = f"PROMOCAST_CHANNELS__{channel.upper().replace('.', '__')}__"

    assert not channel_of(from_environ(), channel).configured
    assert channel_of(from_environ(**{prefix + key: "x"}), channel).configured
    assert channel_of(from_environ(**{prefix + "USE": "outbox"}), channel).configured


def test_caps_may_be_written_in_the_environment_and_count_every_channel_unless_they_name_some() -> None:
    written = "[{ most = 3, per = '24h', channels = ['email'] }, { most = 9, per = '7d' }]"

    found = caps(from_environ(PROMOCAST_CAPS=written))

    assert found == [Cap(frozenset({"email"}), 3, 24 * HOUR), Cap(frozenset(PLAYER_CHANNELS), 9, 7 * 24 * HOUR)]


def test_a_claim_outlasts_the_longest_send() -> None:
    for channel in ("popup", "email", "push.fcm", "push.webpush", "telegram", "sms", "call"):
        settings = channel_of(from_environ(), channel)
        assert settings.lease > settings.connect_timeout + settings.timeout

    email = from_environ().channels.email
    assert email.lease > email.connect_timeout + 2 * email.timeout + email.final_dot_timeout


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        from_environ().api.port = 1  # type: ignore[misc]


# The shipped file.


def test_the_shipped_file_sets_nothing_but_defaults() -> None:
    shipped = load(SHIPPED, {})

    assert shipped.model_copy(update={"config_dir": None}) == Settings()


def test_the_shipped_file_shows_every_setting() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    shown = set(keys(tomllib.loads(text)))

    missing = [path for path, value in leaves(Settings()) if path not in shown and value is not None]
    optional = [path[-1] for path, value in leaves(Settings()) if value is None and path != ("config_dir",)]

    assert missing == []
    assert [key for key in optional if not re.search(rf"^# {key} = ", text, re.MULTILINE)] == []


def channel_of(settings: Settings, dotted: str) -> ChannelSettings:
    found: Any = settings.channels
    for part in dotted.split("."):
        found = getattr(found, part)
    assert isinstance(found, ChannelSettings)
    return found


def leaves(section: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path and default of every setting."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*above, name))
        elif (*above, name) not in {("endpoints",), ("hooks",)}:  # have no default to show
            yield (*above, name), value


def keys(table: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key, tables included: an empty one is a value."""
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from keys(value, (*above, name))


# Hooks.

HOOK = "[hooks.psp]\npreset = 'fasttrack'\n"


def test_a_hook_has_its_secrets_from_a_file(folder: Path) -> None:
    (folder / "secrets").write_text("new\nold\n", encoding="utf-8")

    hook = from_file(HOOK, PROMOCAST_HOOKS__PSP__SECRETS_FILE="secrets").hooks["psp"]

    assert [secret.get_secret_value() for secret in hook.secrets] == ["new", "old"]
    assert "new" not in repr(hook)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HOOK, "hooks.psp.secrets"),
        (HOOK + "secrets = []", "hooks.psp.secrets"),
        (HOOK + "secrets = ['s', '']", "keeps nobody out"),
        (HOOK + "auth = 'basic'\nsecrets = ['hunter2']", "`user:password`"),
        (HOOK + "auth = 'webhook'\nsecrets = ['hunter2']", "webhook secret"),
        (HOOK + "secrets = ['s']\nat = 'data'", "for the preset generic"),
        (HOOK + "secrets = ['s']\nfields = { amount = 'amount' }", "knows where to find amount"),
        (HOOK + "secrets = ['s']\nfields = { promo_code = 'a..b' }", "hooks.psp.fields.promo_code"),
        (HOOK + "secrets = ['s']\ncurrency = 'EURO'", "hooks.psp.currency"),
        (HOOK.replace("fasttrack", "generic") + "secrets = ['s']", "amount, deposit_id, player_id, status"),
        (HOOK.replace("psp", "'P/S'") + "secrets = ['s']", "hooks.P/S"),
    ],
)
def test_a_hook_that_would_be_open_or_could_read_nothing_is_refused(text: str, told: str) -> None:
    refused = refusal(text)

    assert told in refused
    assert "hunter2" not in refused
