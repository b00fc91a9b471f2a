#!/bin/sh
# Makes the user that the services run as. A service that is running is restarted with the new program. A service that was
# just installed is not started, because somebody has to configure it first.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers /usr/lib/sysusers.d/@SERVICE@.conf || true
fi
if ! getent passwd nats >/dev/null && command -v useradd >/dev/null; then
	useradd --system --home-dir /var/lib/nats --no-create-home --shell /usr/sbin/nologin nats
fi
# Debian's own package reads /etc/nats-server.conf. If this package replaces Debian's, the service must keep that file: the
# configuration of this package asks nobody for a password. The packages of nats-server's releases have a link in /usr/local/bin, and
# units of this machine may name it. dpkg passes "configure" and the version that was installed before.
case ${1-}:${2-} in
configure: | configure:*stamp*) ;;
configure:*)
	if [ -f /etc/@SERVICE@.conf ] && [ ! -e /etc/default/@SERVICE@ ]; then
		printf 'CONFIGURATION=/etc/@SERVICE@.conf\n' >/etc/default/@SERVICE@
		echo "@SERVICE@: the service still reads /etc/@SERVICE@.conf; /etc/default/@SERVICE@ now names that file"
	fi
	if [ ! -e /usr/local/bin/@SERVICE@ ]; then
		mkdir -p /usr/local/bin
		ln -sf /usr/bin/@SERVICE@ /usr/local/bin/@SERVICE@
	fi
	;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart @SERVICE@.service || true
fi
