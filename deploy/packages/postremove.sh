#!/bin/sh
# The user nats and its files in /var/lib/nats stay: they are not the package's.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
