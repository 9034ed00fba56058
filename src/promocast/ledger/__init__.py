"""The book: every fact lives here. Functions take an open connection; whoever calls them owns the transaction."""

from sqlalchemy import Connection

from promocast.ledger.engine import Ledger

__all__ = ["Connection", "Ledger"]
