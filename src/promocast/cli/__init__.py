"""The command line: contract section 7. Exit status 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import sys

from promocast.errors import PromocastError


def main() -> None:
    """The `promocast` program. Errors that were foreseen are told in a sentence, without a traceback."""
    from promocast.cli.app import app

    try:
        app()
    except PromocastError as exc:
        print(f"promocast: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
