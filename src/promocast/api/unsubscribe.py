"""Unsubscribing: the link that every mail carries. One click of the mail program's (RFC 8058), or two of a person's.

A GET changes nothing, for programs that scan mails follow links. The token is all that is asked for: whoever has the
mail may stop it.
"""

from __future__ import annotations

from html import escape
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from promocast.api.access import Here
from promocast.flows import settle

router = APIRouter(tags=["unsubscribe"])

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 4rem auto; padding: 0 1rem }}
button {{ font: inherit; padding: .5rem 1.5rem }}
</style>
<h1>{title}</h1>
{body}
</html>
"""
_FORM: Final = """<p>Do you want no more promotions by e-mail?</p>
<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click"><button>Unsubscribe</button>
</form>"""
# Nothing on the page needs more, and the token in its address is nobody else's business.
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), status, _HEADERS)


_UNKNOWN: Final = ("This link is not valid", "<p>It may have been cut off when it was copied.</p>", 404)


@router.get("/u/{token}", response_class=HTMLResponse)
def ask(runtime: Here, token: str) -> HTMLResponse:
    """The page behind the link. It changes nothing by itself."""
    if runtime.returns.opened("unsubscribe", token) is None:
        return _page(*_UNKNOWN)
    return _page("Unsubscribe", _FORM)


@router.post("/u/{token}", response_class=HTMLResponse)
def unsubscribe(runtime: Here, token: str) -> HTMLResponse:
    """The player whom the mail went to wants no more. Repeating it changes nothing."""
    delivery_id = runtime.returns.opened("unsubscribe", token)
    if delivery_id is None or not settle.unsubscribe(runtime.ledger, delivery_id, runtime.clock()):
        return _page(*_UNKNOWN)
    return _page("You are unsubscribed", "<p>You will get no more promotions by e-mail.</p>")
