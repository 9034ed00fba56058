#!/bin/sh
# Bring the counterparts into a folder, without touching the system: install.sh FOLDER. What cannot be had here is said,
# and its tests are skipped, which they say too; in CI they fail. Node itself is installed where that is allowed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && folder=$(cd "$1" && pwd)

# Exim out of Debian's package, with what it needs and this machine has not.
exim() (
  mkdir -p "$folder/debs" && cd "$folder/debs" || return 1
  [ "$(id -u)" != 0 ] || apt-get update -qq
  needs=$(apt-cache depends exim4-daemon-light | sed -n 's/^ *Depends: \(lib[a-z0-9.+-]*\)$/\1/p')
  for package in $needs; do
    dpkg -s "$package" >/dev/null 2>&1 || set -- "$@" "$package"
  done
  apt-get download -qq -o APT::Sandbox::User=root exim4-daemon-light libnss-wrapper "$@" || return 1
  for package in ./*.deb; do dpkg -x "$package" "$folder/exim.new" || return 1; done
  cd "$folder" && mv exim.new exim && rm -rf debs
)

node() (
  if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nodejs npm >/dev/null
  fi
  command -v npm >/dev/null || return 1
  mkdir -p "$folder/node" && cp "$here"/node/package*.json "$folder/node/" && cd "$folder/node" || return 1
  npm ci --ignore-scripts --no-audit --no-fund --silent
)

if [ ! -x "$folder/exim/usr/sbin/exim4" ]; then
  { command -v apt-get >/dev/null && exim; } || echo "Exim cannot be had here: its tests will be skipped"
fi
if ! cmp -s "$here/node/package-lock.json" "$folder/node/package-lock.json" || [ ! -d "$folder/node/node_modules" ]; then
  node || echo "Node's packages cannot be had here: their tests will be skipped. Debian: sudo apt-get install nodejs npm"
fi
