"""Campaigns: the files, what is in force, and whether the two agree with this installation."""

from __future__ import annotations

from collections.abc import Iterator

from promocast.campaign import check
from promocast.cli import campaign_files
from promocast.cli.diagnosis.finding import Diagnosis
from promocast.errors import CampaignError, InputError, LedgerError
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, campaigns
from promocast.ledger.campaigns import InForce
from promocast.runtime import configured_channels
from promocast.settings import Settings


def agree(settings: Settings) -> Iterator[Diagnosis]:
    try:
        ledger = Ledger(settings.ledger_url)
    except LedgerError:
        return  # told by stores.py
    read: set[str] = set()
    try:
        yield from _files(settings, ledger, read)
        yield from _in_force(settings, ledger, read)
    except LedgerError:
        return  # told by stores.py
    finally:
        ledger.close()


def _files(settings: Settings, ledger: Ledger, read: set[str]) -> Iterator[Diagnosis]:
    """The digests of the files are put into `read`."""
    for path in campaign_files.files(settings):
        try:
            checked = campaign_files.read(path, settings)
        except (CampaignError, InputError) as exc:
            yield Diagnosis("error", str(exc))
            continue
        read.add(checked.digest)
        for finding, line in checked.findings:
            yield Diagnosis(finding.level, f"{path}:{line or 1}: {finding.pointer}: {finding.reason}")
        with ledger.read() as conn:
            current = campaigns.in_force(conn, checked.campaign.id)
        if current is not None and current.digest != checked.digest:
            what = f"{path} differs from campaign {current.id} version {current.version}, which is in force"
            yield Diagnosis("warning", what, f"`promocast campaign apply {path}` puts it in force")


def _in_force(settings: Settings, ledger: Ledger, read: set[str]) -> Iterator[Diagnosis]:
    """What is in force, and in no file, may name channels and endpoints that this installation has no more."""
    versions = Versions()
    with ledger.read() as conn:
        current = [versions.get(conn, each.id, each.version) for each in _unread(conn, read)]
    for version in current:
        for finding in check.check(version.campaign, configured_channels(settings), settings.endpoints.keys()):
            if finding.level == "warning":
                what = f"campaign {version.campaign.id} version {version.number}: {finding.pointer}: {finding.reason}"
                yield Diagnosis("warning", what)


def _unread(conn: Connection, read: set[str]) -> list[InForce]:
    return [each for each in campaigns.all_in_force(conn) if each.digest not in read]
