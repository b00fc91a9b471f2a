#!/bin/sh
# The user nats and its files in /var/lib/nats are kept, because they may hold streams that are still needed.
#
# dpkg passes "remove", "purge", or "upgrade" and the version that replaces this one. rpm passes how many packages of this name
# are left.
set -e
service=@SERVICE@

# remove_link removes the link that postinstall or posttrans made.
remove_link() {
	if [ "$(readlink "/usr/local/bin/$service")" = "../../bin/$service" ]; then
		rm "/usr/local/bin/$service" || true # a folder that cannot be written
	fi
}

# remove_default removes the file that postinstall wrote, but not what the operator wrote.
remove_default() {
	if [ "$(cat "/etc/default/$service" 2>/dev/null)" = "CONFIGURATION=/etc/$service.conf" ]; then
		rm "/etc/default/$service"
	fi
}

case ${1-}:${2-} in
remove:* | 0:*) remove_link ;;
purge:*)
	remove_link
	remove_default
	if command -v deb-systemd-helper >/dev/null; then # removes the state that Debian's own package kept
		deb-systemd-helper purge "$service.service" >/dev/null || true
		deb-systemd-helper unmask "$service.service" >/dev/null || true
	fi
	;;
upgrade:*+stamp.*) ;;
upgrade:*) # by Debian's package, or that of a nats-server release
	remove_link
	remove_default
	;;
1:*)
	if [ ! -e "/usr/local/bin/$service" ]; then
		remove_link # the package that replaced this one has the program elsewhere
	fi
	;;
esac
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
