"""An exclusion service with nothing but Python: python exclusion_server.py PORT TOKEN FILE (one player id a line)"""

import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

port, token, file = sys.argv[1:]


class Register(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept open

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
            return self.reply(401, {})
        excluded = set(Path(file).read_text(encoding="utf-8").splitlines())  # read each time: an edit counts at once
        asked = json.loads(body)["player_ids"]
        return self.reply(200, {"excluded": [player_id for player_id in asked if player_id in excluded]})

    def reply(self, status: int, told: dict[str, list[str]]) -> None:
        body = json.dumps(told, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None  # a log of who was asked for would be a register of its own


ThreadingHTTPServer(("127.0.0.1", int(port)), Register).serve_forever()
