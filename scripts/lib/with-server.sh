#!/usr/bin/env bash
# with-server.sh SERVER CONFIGURATION DIRECTORY COMMAND... starts a server, runs the command, and ends the server. The server
# keeps its files in the directory.
set -euo pipefail

server=$1 configuration=$2 dir=$3
shift 3
"$server" -c "$configuration" -sd "$dir/store" >"$dir/server.log" 2>&1 &
pid=$!
trap 'kill -KILL "$pid" 2>/dev/null || true' EXIT
until grep -q 'Server is ready' "$dir/server.log"; do
	kill -0 "$pid" 2>/dev/null || {
		printf 'with-server: the server %s ended before it was ready; the end of its log:\n' "$server" >&2
		tail -n 3 "$dir/server.log" >&2
		exit 1
	}
	sleep 0.05
done
"$@"
