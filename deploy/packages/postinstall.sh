#!/bin/sh
# Makes the user that the services run as, and restarts a service that runs with the program of before. A service that was just
# installed is not started, because somebody has to configure it first.
#
# dpkg passes "configure" and the version that was configured before, which is empty if there was none, or "abort-..." if it could
# not remove or replace this package. rpm passes how many packages of this name are installed now.
set -e
service=@SERVICE@

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers "/usr/lib/sysusers.d/$service.conf" || true
fi
if ! getent passwd nats >/dev/null; then
	if command -v useradd >/dev/null; then
		group=--user-group
		! getent group nats >/dev/null || group='--gid nats'
		# shellcheck disable=SC2086 # two words
		useradd --system $group --home-dir /var/lib/nats --no-create-home --shell /usr/sbin/nologin nats
	else
		echo "$service: there is neither systemd-sysusers nor useradd: make the user nats and the group nats before you start the service" >&2
	fi
fi

# The configuration can have passwords, so of the users only the service's may read it. The packages have it with this mode, and
# root as its group. Whoever has given it another mode or owner keeps that.
if [ "$service" = nats-server ] && getent group nats >/dev/null &&
	[ "$(stat -c %U:%G:%a /etc/nats/nats-server.conf 2>/dev/null)" = root:root:640 ]; then
	chgrp nats /etc/nats/nats-server.conf
fi

# keep_configuration lets a service that ran with Debian's /etc/nats-server.conf go on with it: the configuration of this package
# asks nobody for a password. Stock's unit reads /etc/default/nats-server too, so there may be variables of the operator.
keep_configuration() {
	[ -f /etc/nats-server.conf ] || return 0
	! grep -qs '^[[:space:]]*CONFIGURATION=' /etc/default/nats-server || return 0
	if [ -n "$(tail -c 1 /etc/default/nats-server 2>/dev/null)" ]; then
		echo >>/etc/default/nats-server # its last line had no end
	fi
	echo CONFIGURATION=/etc/nats-server.conf >>/etc/default/nats-server
	echo "nats-server: the service still reads /etc/nats-server.conf; /etc/default/nats-server now names that file"
}

# link makes the link that the packages of nats-server's releases have: units of this machine may name it. rpm makes it in
# posttrans. The target is written in another way than theirs, so that postremove can tell which link it is.
link() {
	if [ ! -e /usr/local/bin/nats-server ] && [ ! -L /usr/local/bin/nats-server ]; then
		{ mkdir -p /usr/local/bin && ln -s ../../bin/nats-server /usr/local/bin/nats-server; } ||
			echo "nats-server: the link /usr/local/bin/nats-server could not be made: what names that path finds no program" >&2
	fi
}

case $service:${1-}:${2-} in
nats-server:configure: | nats-server:configure:*+stamp.*) ;;
nats-server:configure:*)
	keep_configuration
	link
	;;
esac

# invoke changes the state of the service as the policy of a Debian system (policy-rc.d) allows it.
invoke() {
	if command -v deb-systemd-invoke >/dev/null; then
		deb-systemd-invoke "$1" "$service.service"
	else
		systemctl "$1" "$service.service"
	fi
}

# restart puts the new program in the place of one that runs. The reload comes first because it checks the configuration with the
# new program, in the environment of the service. If that refuses the configuration, the old program goes on.
restart() {
	systemctl is-active --quiet "$service.service" || return 0
	if [ "$(systemctl show --property=CanReload --value "$service.service")" = yes ] && ! invoke reload; then
		echo "$service: the check before the restart failed: most likely the new program refuses the configuration. So the service runs with the old program until its next start, which will fail. See: journalctl -u $service" >&2
		return 0
	fi
	{ invoke restart && stays_up; } ||
		echo "$service: the service does not run with the new program. See: journalctl -u $service. The unit lets it write in /var/lib/nats alone, and listen on no port below 1024: docs/releases.md in /usr/share/doc/$service says how to change that. To go back, install the previous package" >&2
}

# stays_up reports whether the service still runs a moment after its restart. systemctl has succeeded when the program begins,
# which then opens its files and ports, and ends if it may not.
stays_up() {
	for _ in 1 2 3; do
		sleep 1
		systemctl is-active --quiet "$service.service" || return 1
	done
}

if command -v deb-systemd-helper >/dev/null; then
	deb-systemd-helper unmask "$service.service" >/dev/null || true # as the packages of Debian 11 and Ubuntu 22.04 do when they are removed
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	case ${1-}:${2-} in
	configure: | 1:* | abort-*) ;; # this package, or its new version, was not there before
	*) restart ;;
	esac
fi
