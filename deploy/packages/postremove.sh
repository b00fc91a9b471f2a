#!/bin/sh
# The user nats and its files in /var/lib/nats stay: they are not the package's.
set -e
if [ "${1-}" = purge ]; then
	rm -f /etc/default/@SERVICE@
	if command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge @SERVICE@.service || true # what Debian's own package noted
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
