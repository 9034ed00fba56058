"""A private Exim 4: unpacked from Debian's packages, without touching the system, with its own folder and no rights."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from promocast.demo.world import free_port
from promocast.standins.smtp import write_certificate
from tests.channels.thirdparty import FOLDER, missing

HOME = FOLDER / "exim"
BINARY = Path("usr", "sbin", "exim4")
USER, PASSWORD = "promocast", "correct horse"

# Exim as its documentation sets it up (www.exim.org/exim-html-current): who is local, what is refused and how. The
# replies at RCPT stand for those of other servers; all others are its own.
CONFIGURATION = r"""
primary_hostname = mx.casino.example
exim_path = {folder}/usr/sbin/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = <; [127.0.0.1]:{port}
keep_environment = *
deliver_drop_privilege = true
host_lookup =
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = *
smtputf8_advertise_hosts = *
message_size_limit = 20K
smtp_accept_max_per_connection = 3
smtp_accept_max = 6
log_selector = +all
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
mail:
  require message = 530 5.7.0 Authentication required
    authenticated = *
  accept
rcpt:
  deny local_parts = dead
    message = 550 5.1.1 <$local_part@$domain>: no such mailbox
  deny local_parts = full
    message = 552 5.2.2 <$local_part@$domain>: over quota
  defer local_parts = grey
    message = 450 4.7.1 <$local_part@$domain>: greylisted, try again later
  require verify = recipient
  accept
data:
  warn logwrite = arrived $h_message-id:
  warn condition = ${{if eq{{$recipients}}{{crash@player.example}}}}
    set acl_m0 = ${{run{{/bin/sh -c 'kill -9 \$PPID'}}}}
  warn condition = ${{if eq{{$recipients}}{{slow@player.example}}}}
    delay = 5s
  accept

begin routers
far:
  driver = manualroute
  domains = far.example
  route_data = 127.0.0.1
  self = send
  transport = far
here:
  driver = accept
  domains = casino.example : player.example
  local_parts = ann : slow : crash : news : bounces : postmaster : анна
  local_part_suffix = +*
  local_part_suffix_optional
  transport = box

begin transports
far:
  driver = smtp
  port = {far}
  allow_localhost
  hosts_avoid_tls = *
box:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  envelope_to_add
  return_path_add
  delivery_date_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


class Exim:
    """One server, in a folder of its own that `close` removes. `far` is the port of far.example's server.

    Started by root it runs as nobody, who may not look into root's folders: so what it needs is copied into its own.
    """

    def __init__(self, far: int = 9) -> None:
        if not (HOME / BINARY).exists():
            missing("Exim")
        self.port = free_port()
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._folder = folder = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(HOME / "usr", folder / "usr", symlinks=True, ignore=shutil.ignore_patterns("share"))
        self.ca_file, _ = write_certificate(folder)
        for name in ("spool", "log", "mail"):
            (folder / name).mkdir()
        self._config = folder / "exim.conf"
        self._config.write_text(
            CONFIGURATION.format(folder=folder, port=self.port, far=far, user=USER, password=PASSWORD), encoding="utf-8"
        )
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._environment = {**os.environ, **self._disguise()}
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def start(self) -> None:
        """Returns when it greets."""
        command = [str(self._folder / BINARY), "-C", str(self._config), "-bdf", "-q1m"]
        is_root = os.geteuid() == 0
        with (self._folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=self._environment,
                start_new_session=True,
                cwd="/",
                stderr=errors,
                user=self._account.pw_uid if is_root else None,
                group=self._account.pw_gid if is_root else None,
                extra_groups=[] if is_root else None,
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as line:
                    assert line.recv(4) == b"220 "
                    return
            except OSError:
                assert self._process.poll() is None, (self._folder / "stderr").read_text() + self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)

    def stop(self) -> None:
        """End it and the processes in which it talks, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._temporary.cleanup()

    def log(self) -> str:
        path = self._folder / "log" / "mainlog"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def arrived(self) -> list[str]:
        """The Message-IDs of all whose content came in, whatever it answered."""
        return [line.rpartition(" arrived ")[2] for line in self.log().splitlines() if " arrived " in line]

    def delivered(self) -> list[bytes]:
        """What is in the mailbox."""
        return [path.read_bytes() for path in (self._folder / "mail" / "new").glob("*")]

    def _disguise(self) -> dict[str, str]:
        """Debian's Exim runs as a user whom only its installation makes. Here that is whoever runs it."""
        uid, gid = self._account.pw_uid, self._account.pw_gid
        lines = [f"{name}:x:{uid}:{gid}::/:/bin/false" for name in ("Debian-exim", self._account.pw_name)]
        (self._folder / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n" + "\n".join(lines) + "\n")
        (self._folder / "group").write_text(f"root:x:0:\nDebian-exim:x:{gid}:\n")
        [wrapper] = self._folder.glob("usr/lib/*/libnss_wrapper.so")
        return {
            "LD_LIBRARY_PATH": str(wrapper.parent),
            "LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_PASSWD": str(self._folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self._folder / "group"),
        }
