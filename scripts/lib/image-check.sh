# shellcheck shell=bash
# Part of scripts/image: tests the image.
# shellcheck disable=SC2154,SC2034

readonly most_bytes=30000000

cmd_check() {
	find_engine
	passed=0 failed=0
	"$engine" image inspect "$tag" >/dev/null 2>&1 || die "there is no image $tag" "scripts/image build makes it"
	try "the image is smaller than 30 MB" image_size
	try "it has the settings of the official image, and a user that is not root" image_settings
	try "its labels name the release that it runs" image_labels
	try "the binary and the configuration are found at both of their paths" image_paths
	try "it has certificates, time zones and licences, and does not show the module proxy of the build" image_files
	try "without options it serves clients, monitoring and routes, as user 65532" run_default
	try "it runs with a read-only root, without capabilities and new privileges" run_locked
	try "JetStream keeps its data in a volume at /data when the container is replaced" run_jetstream
	try "a configuration mounted at /etc/nats/nats-server.conf is read, and again on SIGHUP" run_config_etc
	try "a configuration mounted at /nats-server.conf is read, and again on SIGHUP" run_config_root
	try "SIGTERM, SIGINT and lame duck mode end the server with status 0" run_signals
	try "the server can write a file with its process id to /var/run" run_pid
	((EUID != 0)) || try "the server reads keys of nats-callout if they belong to user 65532, as docs/callout.md says" run_keys
	try "the server ends with status 1 if its configuration is wrong" run_wrong
	try "TZ sets the time zone of the log" run_zone
	sweep
	summary
}

image_size() {
	local size
	size=$("$engine" image inspect --format '{{.Size}}' "$tag") || return
	((size < most_bytes)) || {
		printf 'expected less than %d bytes, found %d\n' "$most_bytes" "$size"
		return 1
	}
	printf '=%d bytes\n' "$size"
}

image_settings() {
	# shellcheck disable=SC2016 # $p is a variable of the template
	local format='{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.WorkingDir}} {{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}'
	expect "user, entry point, command, folder and ports" \
		"$("$engine" image inspect --format "$format" "$tag")" \
		"65532:65532 [/nats-server] [--config /etc/nats/nats-server.conf] / 4222/tcp 6222/tcp 8222/tcp "
}

image_labels() {
	local version
	version=$(once "$tag" --version) || return
	expect "--version" "${version#nats-server: v}" \
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
	for path in nats-server etc/ssl/certs/ca-certificates.crt usr/share/zoneinfo/UTC licenses/LICENSE licenses/NOTICE licenses/THIRD-PARTY-NOTICES data/ tmp/; do
		grep -qx "$path" "$work/files" || {
			printf 'the image has no /%s\n' "$path"
			return 1
		}
	done
	proxy=$(go env GOPROXY 2>/dev/null) && proxy=${proxy#*://} proxy=${proxy%%[,|/]*}
	[[ -z $proxy ]] || ! "$engine" history --no-trunc "$tag" | grep -qF "$proxy" || {
		printf 'the history of the image shows the module proxy of this machine\n'
		return 1
	}
}

run_default() {
	local info fd pid
	start default -- || return
	exec {fd}<>"/dev/tcp/127.0.0.1/$(port_of default 4222)" || return
	read -r -t 10 info <&"$fd" || info=''
	exec {fd}>&-
	[[ $info == 'INFO {'* ]] || {
		printf 'expected INFO from port 4222, found %s\n' "${info:-nothing}"
		return 1
	}
	# /varz has the port of the cluster on a line of its own.
	expect "the cluster's port" "$(get "$(port_of default 8222)" /varz | sed -n 's/^    "cluster_port": \([0-9]*\),*$/\1/p')" 6222 || return
	pid=$(inspect default '{{.State.Pid}}') || return
	[[ ! -r /proc/$pid/status ]] || expect "the user" "$(awk '$1 == "Uid:" { print $2 }' "/proc/$pid/status")" 65532
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

# run_config NAME PATH mounts a configuration at that path, checks that it is read, changes it, and checks that SIGHUP reloads it.
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

# run_pid checks the file with the process id. In Kubernetes, the reloader in the same pod reads it.
run_pid() {
	start pid -- -m 8222 -P /var/run/nats-server.pid || return
	"$engine" cp "$prefix-pid:/run/nats-server.pid" "$work/pid" || return
	expect "the process id" "$(cat "$work/pid")" 1
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
		printf 'expected an error for keys that belong to another user, but the configuration was accepted\n'
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
			printf 'the signal was SIG%s\n' "$signal"
			return 1
		}
	done
}

run_wrong() {
	local status=0
	printf 'no_such_option: 1\n' >"$work/wrong.conf"
	chmod 0644 "$work/wrong.conf"
	once -v "$work/wrong.conf:/etc/nats/nats-server.conf:ro" "$tag" >/dev/null 2>&1 || status=$?
	expect "exit status" "$status" 1
}

# run_zone uses Kathmandu, which is 5 hours and 45 minutes ahead of UTC: no other common zone has the same minutes.
run_zone() {
	local got utc
	start zone -e TZ=Asia/Kathmandu -- || return
	got=$("$engine" logs "$prefix-zone" 2>&1 | sed -n 's/^\[1\] [0-9/]* \([0-9:]*\)\..*Starting nats-server.*/\1/p') || return
	utc=$(date -u -d "$(inspect zone '{{.State.StartedAt}}' | sed 's/ [-+0-9]* UTC.*/ UTC/')" +%s 2>/dev/null) || utc=$(date +%s)
	expect "hour and minute in the log" "${got%:*}" "$(TZ=Asia/Kathmandu date -d "@$utc" +%H:%M)"
}
