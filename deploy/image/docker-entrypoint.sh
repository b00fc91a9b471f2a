#!/bin/sh
# The entry point of the variant with a shell: options alone are for nats-server, anything else is a command.
set -e
case ${1-} in
'' | -*) set -- nats-server "$@" ;;
esac
exec "$@"
