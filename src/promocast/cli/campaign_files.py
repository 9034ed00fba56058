"""Campaign files: reading them with their templates, and putting them in force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import orjson

from promocast.campaign import check, document
from promocast.campaign.check import Finding
from promocast.campaign.document import Campaign
from promocast.campaign.lines import lines_of
from promocast.errors import CampaignError, Fault, InputError
from promocast.flows import apply as flow
from promocast.flows.apply import Applied, stored
from promocast.jobs import digest_of
from promocast.ledger import Ledger, campaigns
from promocast.model import Instant
from promocast.runtime import configured_channels
from promocast.settings import Settings


@dataclass(frozen=True, slots=True)
class Checked:
    """A campaign file that was read. `findings` have their lines as `where`."""

    path: Path
    campaign: Campaign
    findings: list[tuple[Finding, int | None]]

    @property
    def digest(self) -> str:
        return digest_of(orjson.loads(stored(self.campaign)))


def read(path: Path, settings: Settings) -> Checked:
    """The campaign in a TOML file; its template files lie in `templates` beside the folder of campaigns.

    Raises:
        CampaignError: the document is refused; every fault with its line.
        InputError: the file cannot be read.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError("unreadable_file", f"{path} cannot be read: {exc}") from exc
    templates = (settings.config_dir or path.parent.parent) / "templates"

    def template(name: PurePosixPath) -> str:
        return (templates / name).read_text(encoding="utf-8")

    campaign = document.from_toml(source, str(path), template)
    lines = lines_of(source)
    found = check.check(campaign, configured_channels(settings), settings.endpoints.keys())
    return Checked(path, campaign, [(finding, document.line_of(finding.pointer, lines)) for finding in found])


def apply(ledger: Ledger, checked: Checked, now: Instant, *, by: str) -> Applied:
    """Put it in force.

    Raises:
        CampaignError: the check found errors; the version in force stays.
    """
    refuse_errors(checked)
    return flow.apply(ledger, checked.campaign, [finding for finding, _ in checked.findings], now, by=by)


def refuse_errors(checked: Checked) -> None:
    """Stop where a campaign could not be applied.

    Raises:
        CampaignError: the check found errors.
    """
    errors = [(finding, line) for finding, line in checked.findings if finding.level == "error"]
    if errors:
        raise CampaignError(str(checked.path), [Fault(f.pointer, f.reason, line) for f, line in errors])


def files(settings: Settings) -> list[Path]:
    folder = settings.campaigns_dir
    return sorted(folder.glob("*.toml")) if folder and folder.is_dir() else []


def apply_new(ledger: Ledger, settings: Settings, now: Instant, *, by: str) -> list[str]:
    """Apply the files of campaigns that the ledger has never seen; "id version" of each. Known ones are left alone:
    what is in force changes by `campaign apply` only."""
    applied = []
    for path in files(settings):
        checked = read(path, settings)
        with ledger.read() as conn:
            known = campaigns.in_force(conn, checked.campaign.id)
        if known is None:
            version = apply(ledger, checked, now, by=by).version
            applied.append(f"{checked.campaign.id} {version}")
    return applied
