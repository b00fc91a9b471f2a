#!/bin/sh
# Makes the user that the services run as. A new service is not started, because its configuration comes first; one that
# runs is started again with the new program.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers /usr/lib/sysusers.d/@SERVICE@.conf || true
fi
if ! getent passwd nats >/dev/null && command -v useradd >/dev/null; then
	useradd --system --home-dir /var/lib/nats --no-create-home --shell /usr/sbin/nologin nats
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart @SERVICE@.service || true
fi
