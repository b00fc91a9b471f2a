# shellcheck shell=bash
# Part of scripts/image: containers of a run, how to ask them, and the count.
# shellcheck disable=SC2154

readonly prefix="stamp-image-$$" # of the names of all that a run makes
passed=0 failed=0

# sweep: takes away the containers and volumes of this run.
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

# try WORDS COMMAND...: one line of the report. What the command said is shown
# when it failed, or when its last line begins with =. A function that is tried
# must return its faults by hand: errexit is off under an if.
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

# same WHAT GOT WANTED
same() {
	[[ $2 == "$3" ]] || {
		printf '%s is %s, wanted %s\n' "$1" "${2:-empty}" "$3"
		return 1
	}
}

# start NAME [OPTION...] -- [ARGUMENT...]: a container of the image with its
# ports on free ones of loopback; ready when monitoring says that it is healthy.
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
		printf '%s did not become healthy\n' "$name"
		"$engine" logs "$prefix-$name" 2>&1 | tail -n 20
		return 1
	}
}

# once OPTION... ARGUMENT...: a container that ends by itself, or after 30 seconds by force.
once() { timeout -k 10 30 "$engine" run --rm --name "$prefix-once-$RANDOM" "$@"; }

# until_true COMMAND...: for 10 seconds at most, or as long as a slow machine makes of 100 tries.
until_true() {
	local tries=0
	until "$@" >/dev/null 2>&1; do
		((++tries < 100)) || return 1
		sleep 0.1
	done
}

# inspect NAME FORMAT
inspect() { "$engine" inspect --format "$2" "$prefix-$1"; }

# port_of NAME PORT: where a port of the container is on loopback.
port_of() { "$engine" port "$prefix-$1" "$2/tcp" | sed -n '1s/.*://p'; }

# get PORT PATH: an HTTP answer's body from loopback; the exit status says whether it was 200.
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

# varz NAME FIELD: a number or a string of the top level.
varz() { get "$(port_of "$1" 8222)" /varz | sed -n "s/^  \"$2\": \"\\{0,1\\}\\([^\",]*\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p"; }

varz_is() { same "$2" "$(varz "$1" "$2")" "$3"; }

# stopped NAME STATUS: it ends, with that exit status.
stopped() {
	same "exit status" "$(timeout -k 10 60 "$engine" wait "$prefix-$1")" "$2"
}
