"""Loading settings in layers: the defaults, then the TOML file, then `PROMOCAST_<SECTION>__<KEY>`, then `..._FILE`.

An unknown key is an error in every layer: a misspelt rate limit must not pass for a default one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promocast.errors import ConfigError
from promocast.settings import Settings

ENV_PREFIX = "PROMOCAST_"
# Read by the loader itself, so no settings of their own.
ENV_CONFIG = "PROMOCAST_CONFIG"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process.

    Args:
        path: the TOML file; without one `PROMOCAST_CONFIG`, else `config/promocast.toml` if it is there.
        environ: the environment; `os.environ` by default.

    Raises:
        ConfigError: unknown key, bad value, unreadable file; the message names the setting and its layer.
    """
    env = os.environ if environ is None else environ
    file = source(path, env)
    values = _read_toml(file) if file else {}
    if file and "config_dir" not in values:
        values["config_dir"] = file.absolute().parent
    origin = str(file) if file else "the defaults"
    if overlay := _from_environ(env):
        values = _merge(values, overlay)
        origin += f" and the environment ({ENV_PREFIX}*)"
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        faults = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
        raise ConfigError(f"In {origin}:\n{faults}") from None


def source(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The file that `load` reads with the same arguments; None where there is none.

    Raises:
        ConfigError: a file was named and is not there.
    """
    env = os.environ if environ is None else environ
    if path is None and env.get(ENV_CONFIG):
        path = Path(env[ENV_CONFIG])
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"There is no configuration file {path}.")
        return path
    usual = Path("config/promocast.toml")
    return usual if usual.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is no TOML: {exc}") from exc


def _from_environ(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or name == ENV_CONFIG:
            continue
        keys = name.removeprefix(ENV_PREFIX).lower().split("__")
        text = env[name]
        if keys[-1].endswith("_file") and not _is_setting(keys):
            keys[-1] = keys[-1].removesuffix("_file")
            value: Any = _read_secret(name, text)
        else:
            value = _parse(text)
        table = values
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: the environment sets {key} itself as well, to something that has no parts.")
        table[keys[-1]] = value
    return values


def _is_setting(keys: list[str]) -> bool:
    model: Any = Settings
    for key in keys:
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return False
        model = field.annotation
    return True


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"{name}: {exc}") from exc
    except ValueError:
        raise ConfigError(f"{name} names no file that can be read as UTF-8 text.") from None


def _parse(text: str) -> Any:
    """Lists and tables are written as TOML values; anything else is text, for pydantic to convert."""
    if text[:1] in "[{" and text[:1]:
        try:
            return tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
