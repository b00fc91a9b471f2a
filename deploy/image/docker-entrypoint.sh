#!/bin/sh
# The entry point of the image with a shell. If the first argument is an option, or if there is none, all arguments go to
# nats-server. Otherwise the arguments are a command.
set -e
case ${1-} in
'' | -*) set -- nats-server "$@" ;;
esac
exec "$@"
