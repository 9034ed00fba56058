"""Bodies as the systems send them, and settings of their sources."""

from __future__ import annotations

import json
from typing import Any

from promocast.settings import HookSettings

SMARTICO = """{
    "eid": "9f0a3c1e-5d7b-4a43-8d41-9a4f5d0f7f11",
    "event_date": 1795514400000,
    "user_ext_id": "84213",
    "event_type": "acc_deposit_approved",
    "payload": {
        "acc_last_deposit_amount": 50.10,
        "acc_last_deposit_date": 1795514395000,
        "acc_last_transaction_id": "tx-991",
        "acc_last_deposit_payment_method": "VISA",
        "core_wallet_currency": "EUR",
        "acc_is_rollback": false
    }
}"""
SHOWN = """{
    "eid": "0c5b7d2a-91a4-4a9e-8a54-2f4f5a1f3f10",
    "event_date": 1795514400000,
    "user_ext_id": "84213",
    "event_type": "client_action",
    "payload": { "client_action": "CODE_IS_SHOWN", "code": "AB12CD" }
}"""
# Every key that Fast Track publishes; an hour without its leading zero, as its own example has it.
FASTTRACK = """{
  "amount": 32.76,
  "bonus_code": "AB12CD",
  "currency": "EUR",
  "exchange_rate": 0.1,
  "fee_amount": 2.34,
  "note": "string",
  "origin": "sub.example.com",
  "payment_id": "23541",
  "status": "Approved",
  "timestamp": "2026-11-24T8:27:58.721607Z",
  "type": "Credit",
  "user_id": "7865312321",
  "vendor_id": "562",
  "vendor_name": "Skrill"
}"""
GENERIC = """{
  "event": "payment.updated",
  "data": { "payments": [ {
    "id": 4711, "kind": "deposit", "state": "SETTLED", "created": 1795514395,
    "customer": { "reference": "84213" },
    "amount": { "value": 5010, "currency": "EUR" },
    "method": "VISA", "count": 1,
    "metadata": [ { "voucher": "AB12CD" } ]
  } ] }
}"""

smartico = HookSettings.model_validate({"preset": "smartico", "secrets": ["s"]})
fasttrack = HookSettings.model_validate({"preset": "fasttrack", "secrets": ["s"]})
generic = HookSettings.model_validate({
    "preset": "generic",
    "secrets": ["s"],
    "id_prefix": "psp-",
    "at": "data.payments",
    "fields": {
        "deposit_id": "id",
        "player_id": "customer.reference",
        "amount": "amount.value",
        "currency": "amount.currency",
        "status": "state",
        "payment_method": "method",
        "occurred_at": "created",
        "promo_code": "metadata.0.voucher",
        "deposit_index": "count",
    },
    "statuses": {"settled": "approved", "failed": "rejected", "refunded": "rolled_back", "created": "ignored"},
    "only": {"kind": ["deposit"]},
    "minor_units": True,
})  # fmt: skip


def changed(body: str, **values: Any) -> bytes:
    """The body with other values; a dot in a name is written as two underscores, `...` leaves a key out."""
    event = json.loads(body)
    for name, value in values.items():
        *above, key = name.split("__")
        place = event
        for part in above:
            place = place[int(part) if isinstance(place, list) else part]
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return json.dumps(event).encode()
