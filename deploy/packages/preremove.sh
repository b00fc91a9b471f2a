#!/bin/sh
# Stops and disables the service if the package is removed, but not if it is upgraded. For a removal dpkg passes "remove", and
# rpm passes 0.
set -e
case ${1-} in remove | 0) ;; *) exit 0 ;; esac
if command -v systemctl >/dev/null; then
	[ ! -d /run/systemd/system ] || systemctl stop @SERVICE@.service || true
	systemctl --no-reload --quiet disable @SERVICE@.service || true
fi
