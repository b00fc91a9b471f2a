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
# Debian's own package reads /etc/nats-server.conf. A server that ran with it must not come back with the configuration of this
# package, which asks nobody for a password. dpkg says "configure", and the version that was there before.
case ${1-}:${2-} in
configure: | configure:*stamp*) ;;
configure:*)
	if [ -f /etc/@SERVICE@.conf ] && [ ! -e /etc/default/@SERVICE@ ]; then
		printf 'CONFIGURATION=/etc/@SERVICE@.conf\n' >/etc/default/@SERVICE@
		echo "@SERVICE@: the service goes on with /etc/@SERVICE@.conf, as /etc/default/@SERVICE@ says"
	fi
	;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart @SERVICE@.service || true
fi
