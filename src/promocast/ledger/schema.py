"""The book's tables. Facts are stored, states are computed; the constraints here are the invariants.

Instants are milliseconds (model.Instant), money is its decimal string, JSON is text. `due_at` means the same wherever
it stands: when the sweeper must look at this row again, null when never. The partial indexes on it are the sweeper's
whole agenda.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is declared INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


def _agenda(table: str) -> Index:
    return Index(
        f"ix_{table}_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    )


def _text(name: str, *args: Any, **kwargs: Any) -> Column[str]:
    kwargs.setdefault("nullable", False)
    return Column(name, Text, *args, **kwargs)


def _instant(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


# One row: which ledger this is. Message keys carry it, so that a fresh ledger never reuses an old one's keys.
ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("ledger_id"),
    _instant("created_at"),
    _text("secret", server_default=""),  # signs the links and return paths that we give out
    CheckConstraint("id = 1", name="one_row"),
)

campaigns = Table(
    "campaigns",
    metadata,
    _text("id", primary_key=True),
    Column("version", Integer, nullable=False),
    _instant("applied_at"),
    _instant("paused_at", nullable=True),  # since when nothing is issued and nothing of it is sent to players
)

# Never changed after it was written: what a code was issued with is the version of that time.
campaign_versions = Table(
    "campaign_versions",
    metadata,
    _text("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    _text("document"),  # the document as JSON, its template files inline
    _text("digest"),
    _instant("applied_at"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", RowId, primary_key=True),
    _text("ref", unique=True),  # the producer's request_id
    _text("campaign_id", ForeignKey("campaigns.id")),
    _instant("created_at"),
    _instant("cancelled_at", nullable=True),  # since when nothing more of it is issued or sent
    _instant("held_at", nullable=True),  # since when it waits for somebody to confirm its size
    _instant("confirmed_at", nullable=True),
    Column("accepted", BigInteger, nullable=False, server_default="0"),  # recipients of all its parts
    Index("ix_requests_campaign_id_id", "campaign_id", "id"),
    Index(
        "ix_requests_cancelled_at",
        "cancelled_at",
        sqlite_where=text("cancelled_at IS NOT NULL"),
        postgresql_where=text("cancelled_at IS NOT NULL"),
    ),
)

request_parts = Table(
    "request_parts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("request_id", RowId, ForeignKey("requests.id"), nullable=False),
    Column("campaign_version", Integer, nullable=False),
    _text("digest"),  # of the job's content: the same part again is the same part
    _text("recipients", nullable=True),  # those accepted, as they came
    _text("answer"),  # what the producer was told: {accepted, rejected}
    _text("refused", nullable=True),  # those accepted who got no code after all: [{player_id, reason}]
    _instant("accepted_at"),
    _instant("issued_at", nullable=True),
    _instant("due_at", nullable=True),
    UniqueConstraint("request_id", "digest"),
    _agenda("request_parts"),
)

codes = Table(
    "codes",
    metadata,
    Column("id", RowId, primary_key=True),
    _text("code"),
    _text("folded"),
    # Empty but for static codes, where it names the holder: one string, many holders, each with a row of their own.
    _text("slot", server_default=""),
    _text("campaign_id"),
    Column("campaign_version", Integer, nullable=False),
    Column("request_id", RowId, ForeignKey("requests.id")),  # null: external
    _text("player_id", nullable=True),  # null: external, and nobody's yet
    _text("recipient", nullable=True),  # {locale, timezone, addresses, attributes}: all of it personal
    _text("labels", nullable=True),  # the other label tags' values
    _instant("issued_at"),
    _instant("sent_at", nullable=True),  # kept only where valid_from = "sent"; else the deliveries know
    _instant("shown_at", nullable=True),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
    Column("redeemed", Integer, nullable=False, server_default="0"),  # active redemptions
    Column("max_redemptions", Integer),  # null: no limit
    _instant("due_at", nullable=True),  # when `code.expired` is to be recorded
    ForeignKeyConstraint(
        ["campaign_id", "campaign_version"], ["campaign_versions.campaign_id", "campaign_versions.version"]
    ),
    UniqueConstraint("folded", "slot"),
    UniqueConstraint("request_id", "player_id"),
    CheckConstraint("redeemed >= 0 AND (max_redemptions IS NULL OR redeemed <= max_redemptions)", name="limit"),
    Index("ix_codes_player_id", "player_id"),
    _agenda("codes"),
    postgresql_with={"fillfactor": 85},
)

events = Table(
    "events",
    metadata,
    Column("id", RowId, primary_key=True),
    # PostgreSQL: the writing transaction, by which readers keep out of the way of those still open. SQLite: 0.
    Column("tx", BigInteger, nullable=False),
    _instant("at"),
    _text("type"),
    _text("campaign_id", nullable=True),
    Column("code_id", RowId, ForeignKey("codes.id")),
    _text("subjects", nullable=True),  # ids that share this event: codes of code.issued, deliveries of delivery.sent
    _text("data", nullable=True),
    _text("once", nullable=True, unique=True),  # the sender's own id of it; a second one is the same event
    _text("by", nullable=True),  # who did it by hand; null: it happened
    Index("ix_events_code_id", "code_id"),
    Index("ix_events_tx_id", "tx", "id"),
    Index(
        "ix_events_by",
        "tx",
        "id",
        sqlite_where=text("by IS NOT NULL"),
        postgresql_where=text("by IS NOT NULL"),
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("code_id", RowId, ForeignKey("codes.id"), nullable=False),
    Column("event_id", RowId, ForeignKey("events.id")),  # what fired the rule; null: code.issued
    Column("rule", Integer, nullable=False),  # its index in the version's journey
    _text("event_key", server_default=""),  # what tells one firing from another: redemption id, action name
    _text("channel"),
    Column("slot", Integer, nullable=False, server_default="0"),  # which of the recipient's addresses on the channel
    _text("state", server_default="planned"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("unknowns", Integer, nullable=False, server_default="0"),
    _instant("planned_at"),
    _instant("attempted_at", nullable=True),
    _instant("sent_at", nullable=True),
    _text("reason", nullable=True),
    _text("ref", nullable=True),
    # planned: not before; sending: the lease's end; unknown: the next resend, or when evidence is no longer awaited
    _instant("due_at", nullable=True),
    UniqueConstraint("code_id", "rule", "event_key", "channel", "slot"),
    CheckConstraint(
        "state IN ('planned', 'sending', 'sent', 'delivered', 'rejected', 'exhausted', 'unknown', 'skipped')",
        name="state",
    ),
    _agenda("deliveries"),
    postgresql_with={"fillfactor": 70},
)

# Attempts that did not end well; the one that did, or that is open, is in its delivery.
attempts = Table(
    "attempts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("delivery_id", RowId, ForeignKey("deliveries.id"), nullable=False),
    Column("number", Integer, nullable=False),
    _instant("opened_at"),
    _instant("closed_at"),
    _text("outcome"),  # deferred | failed | unknown | halted
    _text("reason"),
    Index("ix_attempts_delivery_id", "delivery_id"),
)

deposits = Table(
    "deposits",
    metadata,
    _text("deposit_id", primary_key=True),
    _text("player_id"),
    _text("messages"),  # {status: the first message of that status}; what is believed is computed from these
    _instant("received_at"),
    _text("verdict", nullable=True),
    _text("result", nullable=True),
    _instant("judged_at", nullable=True),
    _instant("due_at", nullable=True),
    _text("waits_for", nullable=True),  # the folded code that a waiting deposit quotes
    Index("ix_deposits_player_id", "player_id"),
    Index(
        "ix_deposits_waits_for",
        "waits_for",
        sqlite_where=text("waits_for IS NOT NULL"),
        postgresql_where=text("waits_for IS NOT NULL"),
    ),
    _agenda("deposits"),
)

redemptions = Table(
    "redemptions",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("code_id", RowId, ForeignKey("codes.id"), nullable=False),
    _text("deposit_id", ForeignKey("deposits.deposit_id"), unique=True),
    _text("campaign_id", ForeignKey("campaigns.id")),
    _text("player_id"),
    _text("amount"),
    _text("currency"),
    _text("reward", nullable=True),  # as promised: {type, amount, currency} or {type, count}
    Column("reward_units", BigInteger),  # of its amount, in the currency's smallest unit
    _instant("at"),
    _instant("rolled_back_at", nullable=True),
    _instant("due_at", nullable=True),  # since when it, or its undoing, waits to be sealed
    Index("ix_redemptions_code_id", "code_id"),
    Index("ix_redemptions_player_id_campaign_id", "player_id", "campaign_id"),
    _agenda("redemptions"),
)

# Closed batches of redemptions and rollbacks, each bound to the one before by its head (sealing.py).
seals = Table(
    "seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("leaves", Integer, nullable=False),
    _text("head"),
    _instant("sealed_at"),
)

# What a redemption, or its undoing, was when it was sealed: a digest of its facts. No foreign key to the redemption,
# for a leaf outlives what somebody deletes by hand.
seal_leaves = Table(
    "seal_leaves",
    metadata,
    Column("seal", BigInteger, ForeignKey("seals.number"), primary_key=True),
    Column("place", Integer, primary_key=True),
    _text("kind"),  # redeemed | rolled_back
    Column("redemption_id", RowId, nullable=False),
    _text("player_digest", nullable=True),  # redeemed: of the player's id, by the player's salt
    _text("leaf"),
    UniqueConstraint("redemption_id", "kind"),
    CheckConstraint("kind IN ('redeemed', 'rolled_back')", name="kind"),
)

# Without a player's salt nobody can tell whose the leaves are: erasing a player destroys it.
player_salts = Table(
    "player_salts",
    metadata,
    _text("player_id", primary_key=True),
    _text("salt"),
)

# How many codes were issued of a campaign, kept while the version in force limits them.
issue_counts = Table(
    "issue_counts",
    metadata,
    _text("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    Column("issued", BigInteger, nullable=False),
)

# Codes that were imported to be given out, each once. A row stays when its code is given, and says so.
pool_codes = Table(
    "pool_codes",
    metadata,
    Column("id", RowId, primary_key=True),
    _text("pool"),
    _text("code"),
    _text("folded", unique=True),
    _instant("imported_at"),
    _instant("given_at", nullable=True),
    Index(
        "ix_pool_codes_pool_id",
        "pool",
        "id",
        sqlite_where=text("given_at IS NULL"),
        postgresql_where=text("given_at IS NULL"),
    ),
)

# Of a pool: how many of its codes are left, and the lowest threshold that was told of.
pools = Table(
    "pools",
    metadata,
    _text("name", primary_key=True),
    Column("remaining", BigInteger, nullable=False),
    Column("told", BigInteger),
    CheckConstraint("remaining >= 0", name="remaining"),
)

# What of a campaign's budget is spent: the sum over its active redemptions, kept while the version in force has one.
budgets = Table(
    "budgets",
    metadata,
    _text("campaign_id", ForeignKey("campaigns.id"), primary_key=True),
    _text("currency", primary_key=True),  # of rewards; empty: the number of redemptions
    Column("spent", BigInteger, nullable=False),
    CheckConstraint("spent >= 0", name="spent"),
)

# Codes that a player quoted and that were nobody's or another's, by which guessing is seen.
guesses = Table(
    "guesses",
    metadata,
    Column("id", RowId, primary_key=True),
    _text("player_id"),
    _instant("at"),
    _text("deposit_id", nullable=True, unique=True),  # null: asked by validating
    Index("ix_guesses_player_id_at", "player_id", "at"),
)

# Client actions that came before their code was recorded. They wait for the grace time, then go to the inbox.
early_actions = Table(
    "early_actions",
    metadata,
    _text("eid", primary_key=True),
    _text("folded"),
    _text("player_id", nullable=True),
    _text("body"),
    _instant("received_at"),
    _instant("until"),
    _instant("due_at"),
    Index("ix_early_actions_folded", "folded"),
    Index("ix_early_actions_due_at", "due_at"),
)

# Addresses at which nothing arrives, or that must not be used; as digests, for they need only be known again.
suppressions = Table(
    "suppressions",
    metadata,
    _text("channel", primary_key=True),
    _text("digest", primary_key=True),
    _text("reason"),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
)

# Where an address has moved to: a Telegram group that became a supergroup, under a number of its own.
moved_addresses = Table(
    "moved_addresses",
    metadata,
    _text("channel", primary_key=True),
    _text("digest", primary_key=True),  # of the old one
    _text("address"),
    _instant("moved_at"),
)

# Only channels, and endpoints (`endpoints.crm`), of which there is something to say; "*" stands for all of them.
channels = Table(
    "channels",
    metadata,
    _text("name", primary_key=True),
    _instant("paused_at", nullable=True),
    _instant("halted_at", nullable=True),
    _text("reason", nullable=True),  # why it is halted, or disabled
    _instant("probe_at", nullable=True),  # halted: when one delivery may be tried
    _instant("failing_since", nullable=True),  # of a system of the operator's: nothing has succeeded there since
    _instant("failed_at", nullable=True),  # and it failed last, to the hour
    _instant("disabled_at", nullable=True),  # nothing goes there until the operator says so
    _text("target", nullable=True),  # the digest of the URL of which these three speak
)

players = Table(
    "players",
    metadata,
    _text("player_id", primary_key=True),
    _text("locale", nullable=True),
    _text("timezone", nullable=True),
    _text("consents", server_default="{}"),  # {channel: opted_in}, as the CRM tells it
    _text("opt_outs", server_default="{}"),  # {channel: since when}, as the player told us
    _text("blocks", server_default="[]"),  # [{type, active, until}]
    _instant("updated_at"),
    Index("ix_players_updated_at", "updated_at"),  # senders ask, several times a second, who has changed
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", RowId, primary_key=True),
    _text("kind"),  # job | deposit | client_action | callback | hook
    _text("reason"),
    _text("detail"),
    Column("body", LargeBinary),
    _text("player_id", nullable=True),
    _instant("received_at"),
    _instant("replayed_at", nullable=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    _text("id", primary_key=True),
    _text("digest", unique=True),  # SHA-256 of 256 random bits: nothing to guess, so nothing to slow down
    _text("scopes"),
    _text("campaign_id", ForeignKey("campaigns.id"), nullable=True),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
)
