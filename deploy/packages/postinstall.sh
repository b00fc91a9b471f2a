#!/bin/sh
# Makes the user that the services run as. They are not started: their configuration comes first.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers /usr/lib/sysusers.d/stamp-nats.conf || true
fi
if ! getent passwd nats >/dev/null && command -v useradd >/dev/null; then
	useradd --system --home-dir /var/lib/nats --no-create-home --shell /usr/sbin/nologin nats
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
