#!/bin/sh
# The user nats and its files in /var/lib/nats are kept, because they may hold streams that are still needed.
set -e
case ${1-} in
remove | purge)
	if [ "$(readlink /usr/local/bin/@SERVICE@)" = /usr/bin/@SERVICE@ ]; then
		rm /usr/local/bin/@SERVICE@ # the link that postinstall made
	fi
	;;
esac
if [ "${1-}" = purge ]; then
	rm -f /etc/default/@SERVICE@
	if command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge @SERVICE@.service || true # removes the state that Debian's own package kept
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
