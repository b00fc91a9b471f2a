#!/bin/sh
# rpm runs this when the files of a package that this one replaces are gone. The packages of nats-server's releases have a link in
# /usr/local/bin, and units of the machine may name it.
set -e
if [ ! -e /usr/local/bin/nats-server ] && [ ! -L /usr/local/bin/nats-server ]; then
	mkdir -p /usr/local/bin
	ln -s ../../bin/nats-server /usr/local/bin/nats-server
fi
