#!/bin/sh
# Stops and disables the service if the package is removed, but not if it is upgraded. For a removal dpkg passes "remove", and
# rpm passes 0.
set -e
service=@SERVICE@
case ${1-} in remove | 0) ;; *) exit 0 ;; esac
if command -v systemctl >/dev/null; then
	if [ ! -d /run/systemd/system ]; then
		:
	elif command -v deb-systemd-invoke >/dev/null; then
		deb-systemd-invoke stop "$service.service" || true # as the policy of a Debian system (policy-rc.d) allows it
	else
		systemctl stop "$service.service" || true
	fi
	systemctl --no-reload --quiet disable "$service.service" || true
fi
