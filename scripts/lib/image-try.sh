# shellcheck shell=bash
# Part of scripts/image: starts and removes containers, asks them, and counts the tests that pass.
# shellcheck disable=SC2154

readonly prefix="stamp-image-$$" # names of containers, volumes and projects of this run begin with it
passed=0 failed=0

# sweep removes the containers and volumes of this run.
sweep() {
	local name
	for name in $("$engine" ps -aq --filter "name=$prefix"); do
		"$engine" rm -f -v "$name" >/dev/null 2>&1 || true
	done
	for name in $("$engine" volume ls -q --filter "name=$prefix"); do
		"$engine" volume rm -f "$name" >/dev/null 2>&1 || true
	done
}

cleanup() {
	if [[ -n $engine ]]; then
		[[ -z ${compose_up-} ]] || compose_down || true
		sweep
	fi
	[[ -z $work ]] || rm -rf "$work"
}

# try DESCRIPTION COMMAND... runs a test and prints its result. If the command fails, its output is shown. If the last line of
# its output begins with =, the rest of that line is shown beside the description. In a function that is called here, each
# command that may fail needs `|| return`, because bash ignores set -e in a condition.
try() {
	if "${@:2}" >"$work/said" 2>&1; then
		passed=$((passed + 1))
		printf 'ok   %s%s\n' "$1" "$(sed -n '$s/^=/: /p' "$work/said")"
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n' "$1"
		sed 's/^/     /' "$work/said"
	fi
}

summary() {
	printf '%d passed, %d failed\n' "$passed" "$failed"
	((failed == 0))
}

# expect WHAT FOUND EXPECTED
expect() {
	[[ $2 == "$3" ]] || {
		printf '%s: expected %s, found %s\n' "$1" "${3:-nothing}" "${2:-nothing}"
		return 1
	}
}

# start NAME [OPTION...] -- [ARGUMENT...] starts a container of the image. Its ports are mapped to free ports of the loopback
# interface. It returns when the server is healthy.
start() {
	local name=$1
	local -a options=()
	shift
	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	timeout -k 10 60 "$engine" run -d --name "$prefix-$name" -p 127.0.0.1::4222 -p 127.0.0.1::8222 \
		"${options[@]}" "$tag" "$@" >/dev/null || return
	until_true healthy "$name" || {
		printf 'the container %s did not become healthy; the end of its log:\n' "$name"
		"$engine" logs "$prefix-$name" 2>&1 | tail -n 20
		return 1
	}
}

# once OPTION... ARGUMENT... runs a container that ends by itself. After 30 seconds it is killed.
once() { timeout -k 10 30 "$engine" run --rm --name "$prefix-once-$RANDOM" "$@"; }

# until_true COMMAND... runs the command until it succeeds, at most 100 times with pauses of 0.1 seconds.
until_true() {
	local tries=0
	until "$@" >/dev/null 2>&1; do
		((++tries < 100)) || return 1
		sleep 0.1
	done
}

# inspect NAME FORMAT
inspect() { "$engine" inspect --format "$2" "$prefix-$1"; }

# port_of NAME PORT prints the loopback port that a port of the container is mapped to.
port_of() { "$engine" port "$prefix-$1" "$2/tcp" | sed -n '1s/.*://p'; }

# get PORT PATH requests a path from a loopback port and prints the body of the answer. It fails if the HTTP status is not 200.
get() {
	local status fd
	exec {fd}<>"/dev/tcp/127.0.0.1/$1" || return
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&"$fd"
	read -r -t 10 _ status _ <&"$fd" || status=''
	sed '1,/^\r*$/d' <&"$fd"
	exec {fd}>&-
	[[ $status == 200* ]]
}

healthy() { get "$(port_of "$1" 8222)" "${2:-/healthz}"; }

# varz NAME FIELD prints a number or a string of the top level of /varz.
varz() { get "$(port_of "$1" 8222)" /varz | sed -n "s/^  \"$2\": \"\\{0,1\\}\\([^\",]*\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p"; }

varz_is() { expect "$2" "$(varz "$1" "$2")" "$3"; }

# stopped NAME STATUS waits until the container ends, and fails if it has another exit status.
stopped() {
	expect "exit status of the server" "$(timeout -k 10 60 "$engine" wait "$prefix-$1")" "$2"
}
