#!/bin/sh
# Ends the service when its package goes, and not when a newer one takes its place: dpkg says "remove", rpm 0.
set -e
case ${1-} in remove | 0) ;; *) exit 0 ;; esac
if command -v systemctl >/dev/null; then
	[ ! -d /run/systemd/system ] || systemctl stop @SERVICE@.service || true
	systemctl --no-reload --quiet disable @SERVICE@.service || true
fi
