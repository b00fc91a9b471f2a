# shellcheck shell=bash
# Part of scripts/image: compose.yaml, brought up for real.
# shellcheck disable=SC2154,SC2034

readonly project="$prefix-compose"
compose_up='' # set while there is something to take down

# Ports that a page's origin names cannot be left to the engine: two that are free now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
web_port='' websocket_port=''

# compose ARGUMENT...: the engine's compose, on free ports, under a name of this run.
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
	for name in $("$engine" network ls -q --filter "name=$project"); do # older podman-compose leaves it
		"$engine" network rm "$name" >/dev/null || return
	done
}

cmd_compose() {
	find_engine
	[[ $engine != podman ]] || command -v podman-compose >/dev/null ||
		die "there is no podman-compose" "scripts/image engine installs it on Debian"
	passed=0 failed=0
	web_port=$(free_port) websocket_port=$(free_port)
	compose_up=1
	try "compose.yaml comes up" compose up -d --no-build
	try "its server is healthy, with JetStream" compose_healthy
	try "it is the release of the image" compose_version
	try "its web page is served" compose_page
	try "a browser-like client with a cookie alone is stamped" compose_client
	try "it is stopped with status 0" compose_stop
	try "it goes down and leaves nothing" compose_gone
	summary
}

compose_healthy() {
	until_true compose_ask '/healthz?js-enabled-only=true' || {
		compose logs 2>&1 | tail -n 20
		return 1
	}
}

# compose_ask PATH: of the monitoring port.
compose_ask() { get "$("$engine" port "$(compose_container)" 8222/tcp | sed -n '1s/.*://p')" "$1"; }

compose_container() { "$engine" ps -aq --filter "name=$project" --filter "ancestor=$tag" | head -n 1; }

compose_version() {
	local want
	want=$(once "$tag" --version) || return
	compose_ask /varz >"$work/varz" || return
	grep -qF "${want#nats-server: v}" "$work/varz" || {
		printf '/varz does not say %s\n' "$want"
		return 1
	}
}

compose_page() { until_true get "$web_port" / >/dev/null; }

# compose_client: the demonstration's client, which judges what the service saw.
# Its words are read, since older podman-compose always exits with 0.
compose_client() {
	until_true client_passes || {
		tail -n 25 "$work/client"
		return 1
	}
}

# client_passes fails as long as the callout service is still being started.
client_passes() {
	compose run --rm client >"$work/client" 2>&1 &&
		grep -q '^PASS  a forged header is replaced' "$work/client" && ! grep -q '^FAIL' "$work/client"
}

compose_stop() {
	compose stop >/dev/null || return
	same "exit status" "$("$engine" inspect --format '{{.State.ExitCode}}' "$(compose_container)")" 0
}

compose_gone() {
	compose_down || return
	same "what is left" "$("$engine" ps -aq --filter "name=$project")$("$engine" volume ls -q --filter "name=$project")$("$engine" network ls -q --filter "name=$project")" ""
}
