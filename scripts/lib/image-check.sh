# shellcheck shell=bash
# Part of scripts/image: what the image must be and do.
# shellcheck disable=SC2154,SC2034

readonly most_bytes=30000000

cmd_check() {
	find_engine
	passed=0 failed=0
	"$engine" image inspect "$tag" >/dev/null 2>&1 || die "there is no image $tag" "scripts/image build"
	try "it is under 30 MB" image_size
	try "its settings are the official image's, and its user is not root" image_settings
	try "its labels name the release that it runs" image_labels
	try "both places of the binary and of the configuration work" image_paths
	try "it has certificates, time zones and licences, and no address of a build proxy" image_files
	try "as it is: clients, monitoring and routes are served, as user 65532" run_default
	try "a read-only root, no capabilities and no new privileges suffice" run_locked
	try "JetStream keeps a volume at /data over containers" run_jetstream
	try "a configuration mounted at /etc/nats/nats-server.conf is read, and again on SIGHUP" run_config_etc
	try "a configuration mounted at /nats-server.conf is read, and again on SIGHUP" run_config_root
	try "SIGTERM, SIGINT and lame duck mode end it with status 0" run_signals
	try "a file with the process id is written to /var/run" run_pid
	((EUID != 0)) || try "keys that nats-callout wrote are read when they belong to user 65532, as docs/callout.md says" run_keys
	try "a wrong configuration ends it with status 1" run_wrong
	try "TZ sets the time zone of the log" run_zone
	sweep
	summary
}

image_size() {
	local size
	size=$("$engine" image inspect --format '{{.Size}}' "$tag") || return
	((size < most_bytes)) || {
		printf '%d bytes, and %d are allowed\n' "$size" "$most_bytes"
		return 1
	}
	printf '=%d bytes\n' "$size"
}

image_settings() {
	# shellcheck disable=SC2016 # $p is the template's
	local format='{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.WorkingDir}} {{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}'
	same "user, entry point, command, folder and ports" \
		"$("$engine" image inspect --format "$format" "$tag")" \
		"65532:65532 [/nats-server] [--config /etc/nats/nats-server.conf] / 4222/tcp 6222/tcp 8222/tcp "
}

image_labels() {
	local version
	version=$(once "$tag" --version) || return
	same "--version" "${version#nats-server: v}" \
		"$("$engine" image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "$tag")" || return
	printf '=%s\n' "$version"
}

image_paths() {
	local path
	for path in /nats-server /usr/local/bin/nats-server nats-server; do
		once --entrypoint "$path" "$tag" --version >/dev/null || return
	done
	for path in /etc/nats/nats-server.conf /nats-server.conf nats-server.conf; do
		once "$tag" -t --config "$path" || return
	done
}

image_files() {
	local path proxy
	"$engine" create --name "$prefix-files" "$tag" >/dev/null &&
		"$engine" export "$prefix-files" | tar -t >"$work/files" || return
	for path in nats-server etc/ssl/certs/ca-certificates.crt usr/share/zoneinfo/UTC licenses/LICENSE licenses/NOTICE data/ tmp/; do
		grep -qx "$path" "$work/files" || {
			printf 'there is no /%s\n' "$path"
			return 1
		}
	done
	proxy=$(go env GOPROXY 2>/dev/null) && proxy=${proxy#*://} proxy=${proxy%%[,|/]*}
	[[ -z $proxy ]] || ! "$engine" history --no-trunc "$tag" | grep -qF "$proxy" || {
		printf 'its history names the module proxy of this machine\n'
		return 1
	}
}

run_default() {
	local info fd port
	start default -- || return
	exec {fd}<>"/dev/tcp/127.0.0.1/$(port_of default 4222)" || return
	read -r -t 10 info <&"$fd" || info=''
	exec {fd}>&-
	[[ $info == 'INFO {'* ]] || {
		printf 'port 4222 says no INFO\n'
		return 1
	}
	# Host and container port are on lines of their own in /varz.
	same "the cluster's port" "$(get "$(port_of default 8222)" /varz | sed -n 's/^    "cluster_port": \([0-9]*\),*$/\1/p')" 6222 || return
	port=$(inspect default '{{.State.Pid}}') || return
	[[ ! -r /proc/$port/status ]] || same "the user" "$(awk '$1 == "Uid:" { print $2 }' "/proc/$port/status")" 65532
}

run_locked() {
	start locked --read-only --cap-drop=all --security-opt=no-new-privileges -- || return
	varz_is locked version 2.15.3
}

run_jetstream() {
	local name volume="$prefix-data"
	"$engine" volume create "$volume" >/dev/null || return
	for name in first second; do
		start "$name" --read-only --cap-drop=all -v "$volume:/data" -- -js -sd /data -m 8222 || return
		healthy "$name" '/healthz?js-enabled-only=true' >/dev/null || {
			printf 'JetStream is not enabled\n'
			return 1
		}
		"$engine" stop -t 30 "$prefix-$name" >/dev/null && stopped "$name" 0 || return
	done
}

# run_config NAME PLACE
run_config() {
	printf 'port: 4222, http: 8222, server_name: mounted, max_connections: 11\n' >"$work/$1.conf"
	chmod 0644 "$work/$1.conf"
	start "$1" --read-only -v "$work/$1.conf:$2:ro" -- || return
	varz_is "$1" server_name mounted && varz_is "$1" max_connections 11 || return
	printf 'port: 4222, http: 8222, server_name: mounted, max_connections: 12\n' >"$work/$1.conf"
	"$engine" kill --signal HUP "$prefix-$1" >/dev/null || return
	until_true varz_is "$1" max_connections 12 || varz_is "$1" max_connections 12
}

run_config_etc() { run_config etc /etc/nats/nats-server.conf; }
run_config_root() { run_config root /nats-server.conf; }

# run_pid: the reloader beside a server in Kubernetes reads this file.
run_pid() {
	start pid -- -m 8222 -P /var/run/nats-server.pid || return
	"$engine" cp "$prefix-pid:/run/nats-server.pid" "$work/pid" || return
	same "the process id" "$(cat "$work/pid")" 1
}

run_keys() {
	"$root/scripts/build" -o "$work/callout" nats-callout && "$work/callout/nats-callout" keys make "$work/keys" || return
	cat >"$work/callout.conf" <<-'EOF'
		accounts { APP {} }
		callout {
		  issuer_file: "/keys/issuer.nk", xkey_file: "/keys/xkey.nk"
		  sessions: [ { kind: http, url: "http://127.0.0.1:3000/session" } ]
		  grants: [ { account: APP, publish: [], subscribe: ["a"] } ]
		}
	EOF
	chmod 0644 "$work/callout.conf"
	local -a container=(-v "$work/keys:/keys:ro" -v "$work/callout.conf:/etc/nats/nats-server.conf:ro" "$tag" -t -c /etc/nats/nats-server.conf)
	if once "${container[@]}" >/dev/null 2>&1; then
		printf 'keys of another user are read\n'
		return 1
	fi
	chown -R 65532:65532 "$work/keys" && once "${container[@]}"
}

run_signals() {
	local signal
	for signal in TERM INT USR2; do
		start "$signal" -- || return
		"$engine" kill --signal "$signal" "$prefix-$signal" >/dev/null || return
		stopped "$signal" 0 || {
			printf 'after SIG%s\n' "$signal"
			return 1
		}
	done
}

run_wrong() {
	local status=0
	printf 'no_such_option: 1\n' >"$work/wrong.conf"
	chmod 0644 "$work/wrong.conf"
	once -v "$work/wrong.conf:/etc/nats/nats-server.conf:ro" "$tag" >/dev/null 2>&1 || status=$?
	same "exit status" "$status" 1
}

# run_zone: Kathmandu is 5:45 from UTC, and no other zone's minutes look like it.
run_zone() {
	local got utc
	start zone -e TZ=Asia/Kathmandu -- || return
	got=$("$engine" logs "$prefix-zone" 2>&1 | sed -n 's/^\[1\] [0-9/]* \([0-9:]*\)\..*Starting nats-server.*/\1/p') || return
	utc=$(date -u -d "$(inspect zone '{{.State.StartedAt}}' | sed 's/ [-+0-9]* UTC.*/ UTC/')" +%s 2>/dev/null) || utc=$(date +%s)
	same "hour and minute in the log" "${got%:*}" "$(TZ=Asia/Kathmandu date -d "@$utc" +%H:%M)"
}
