# shellcheck shell=bash
# Part of scripts/image: starts the services of compose.yaml, and tests them.
# shellcheck disable=SC2154,SC2034

readonly project="$prefix-compose"
compose_up='' # set while there may be containers to remove

# free_port prints a port that is free now. The engine cannot choose the ports of the page and of the websocket: the
# configuration has to name them, because browsers send them in the origin.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
web_port='' websocket_port=''

# compose ARGUMENT... runs the engine's compose command with free ports and a project name for this run.
compose() {
	local -a tool=(docker compose)
	[[ $engine != podman ]] || tool=(podman-compose)
	STAMP_IMAGE=$tag STAMP_DEMO_IMAGE=$tag-demo STAMP_CLIENT_PORT='' STAMP_MONITOR_PORT='' \
		STAMP_WEB_PORT=$web_port STAMP_WEBSOCKET_PORT=$websocket_port \
		timeout -k 10 120 "${tool[@]}" -p "$project" -f "$root/compose.yaml" "$@"
}

compose_down() {
	local name
	compose_up=''
	compose down -v >/dev/null 2>&1 || return
	# Older versions of podman-compose leave the network behind.
	for name in $("$engine" network ls -q --filter "name=$project"); do
		"$engine" network rm "$name" >/dev/null || return
	done
}

cmd_compose() {
	find_engine
	[[ $engine != podman ]] || command -v podman-compose >/dev/null ||
		die "there is no podman-compose in PATH" "scripts/image engine installs it on Debian"
	passed=0 failed=0
	web_port=$(free_port) websocket_port=$(free_port)
	compose_up=1
	try "the services of compose.yaml start" compose up -d --no-build
	try "the server is healthy, with JetStream" compose_healthy
	try "the server runs the release of the image" compose_version
	try "the web page is served" compose_page
	try "a client that has only a cookie, like a browser, is stamped" compose_client
	try "the server stops with exit status 0" compose_stop
	try "compose down removes containers, volumes and networks" compose_gone
	summary
}

compose_healthy() {
	until_true compose_ask '/healthz?js-enabled-only=true' || {
		compose logs 2>&1 | tail -n 20
		return 1
	}
}

# compose_ask PATH prints what the monitoring port of the server answers.
compose_ask() { get "$("$engine" port "$(compose_container)" 8222/tcp | sed -n '1s/.*://p')" "$1"; }

compose_container() { "$engine" ps -aq --filter "name=$project" --filter "ancestor=$tag" | head -n 1; }

compose_version() {
	local want
	want=$(once "$tag" --version) || return
	compose_ask /varz >"$work/varz" || return
	grep -qF "${want#nats-server: v}" "$work/varz" || {
		printf 'expected the version of %s in /varz\n' "$want"
		return 1
	}
}

compose_page() { until_true get "$web_port" / >/dev/null; }

# compose_client runs the demonstration's client, which checks what the service received.
compose_client() {
	until_true client_passes || {
		tail -n 25 "$work/client"
		return 1
	}
}

# client_passes runs the client once. It fails while the other services are still starting. The output is checked too,
# because older versions of podman-compose always exit with 0.
client_passes() {
	compose run --rm client >"$work/client" 2>&1 &&
		grep -q '^PASS  a forged header is replaced' "$work/client" && ! grep -q '^FAIL' "$work/client"
}

compose_stop() {
	compose stop >/dev/null || return
	expect "exit status" "$("$engine" inspect --format '{{.State.ExitCode}}' "$(compose_container)")" 0
}

compose_gone() {
	compose_down || return
	expect "the list of containers, volumes and networks that are left" "$("$engine" ps -aq --filter "name=$project")$("$engine" volume ls -q --filter "name=$project")$("$engine" network ls -q --filter "name=$project")" ""
}
