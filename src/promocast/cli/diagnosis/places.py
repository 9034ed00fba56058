"""Files and folders: who may read them, and what they lie on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from promocast.cli.diagnosis.finding import Diagnosis
from promocast.settings import Settings

# Where locks of a file do not hold between machines, and WAL's shared memory is none.
NETWORK: Final = frozenset({
    "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3",
    "smbfs",
})  # fmt: skip


def data_folder(settings: Settings, mounts: Path = Path("/proc/self/mounts")) -> Iterator[Diagnosis]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield Diagnosis("warning", f"the data folder {folder} does not exist yet", "`promocast up` makes it")
        return
    if folder.stat().st_mode & 0o077:
        yield Diagnosis("error", f"others may look into the data folder {folder}", f"chmod 700 {folder}")
    else:
        yield Diagnosis("ok", f"data folder {folder}")
    kind = filesystem(folder, mounts)
    if kind in NETWORK and settings.ledger_url.startswith("sqlite"):
        what = f"the ledger (SQLite) lies on a network file system ({kind})"
        yield Diagnosis("error", what, "move data_dir to a local disk, or set ledger.url to a PostgreSQL")


def filesystem(folder: Path, mounts: Path) -> str | None:
    """The kind of file system that `folder` lies on; None where that cannot be told."""
    try:
        table = [line.split()[1:3] for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    path = folder.resolve()
    over = [(Path(place.replace("\\040", " ")), kind) for place, kind in table]
    return max(((place, kind) for place, kind in over if path.is_relative_to(place)), key=_depth, default=("", None))[1]


def _depth(mount: tuple[Path, str]) -> int:
    return len(mount[0].parts)


def configuration(settings: Settings, source: Path | None) -> Iterator[Diagnosis]:
    """A file with secrets in it is its owner's, or their group's, alone."""
    if source is None or not source.stat().st_mode & 0o007:
        return
    text = source.read_text(encoding="utf-8")
    if any(secret in text for secret in secrets_of(settings)):
        what = f"{source} has secrets in it, and everybody on this machine may read it"
        yield Diagnosis("error", what, f"chmod o= {source}, or give the secrets as PROMOCAST_..._FILE")


def secrets_of(section: Any) -> Iterator[str]:
    """What is secret of the settings; of an address only the password in it."""
    if isinstance(section, SecretStr):
        value = section.get_secret_value()
        yield from filter(None, [urlsplit(value).password if "://" in value else value])
    elif isinstance(section, BaseModel):
        yield from (found for name in type(section).model_fields for found in secrets_of(getattr(section, name)))
    elif isinstance(section, Mapping):
        yield from (found for value in section.values() for found in secrets_of(value))
    elif isinstance(section, tuple):
        yield from (found for value in section for found in secrets_of(value))
