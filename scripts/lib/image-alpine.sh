# shellcheck shell=bash
# Part of scripts/image: builds and tests the variant with a shell.
# shellcheck disable=SC2154,SC2034

cmd_alpine() {
	local base=docker.io/library/alpine:3.22 argument label
	local -a arguments=()
	find_engine
	"$engine" image inspect "$tag" >/dev/null 2>&1 || die "there is no image $tag" "scripts/image build makes it"
	if [[ -n $local_base ]]; then
		base=localhost/stamp/busybox
		"$engine" image inspect "$base" >/dev/null 2>&1 || busybox_base "$base"
	fi
	for argument in STAMP_VERSION=version STAMP_COMMIT=revision; do
		label=$("$engine" image inspect --format "{{index .Config.Labels \"org.opencontainers.image.${argument#*=}\"}}" "$tag")
		arguments+=(--build-arg "${argument%=*}=$label")
	done
	"$engine" build --network=host --build-arg "STAMP_IMAGE=$tag" --build-arg "ALPINE_IMAGE=$base" "${arguments[@]}" \
		-t "$tag-alpine" -f "$root/deploy/image/Dockerfile.alpine" "$root/deploy/image"
	local tag="$tag-alpine"
	passed=0 failed=0
	try "without arguments the server starts, and its wget can be used for a health check" alpine_default
	try "arguments can be options of nats-server, nats-server with options, or another command" alpine_arguments
	try "the server can write a file with its process id to /var/run" run_pid
	try "SIGTERM, SIGINT and lame duck mode end the server with status 0" run_signals
	try "a configuration mounted at /etc/nats/nats-server.conf is read, and again on SIGHUP" run_config_etc
	sweep
	summary
}

# busybox_base NAME makes a stand-in for the alpine image from Debian's busybox, if no image can be pulled.
busybox_base() {
	local dir="$work/busybox" applet
	[[ -x /bin/busybox ]] || install_packages busybox-static
	mkdir -p "$dir"/{bin,etc,run,tmp,usr/bin,var}
	cp /bin/busybox "$dir/bin/"
	for applet in $(/bin/busybox --list); do
		[[ $applet == busybox ]] || ln -s busybox "$dir/bin/$applet"
	done
	ln -s /run "$dir/var/run"
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/etc/passwd"
	printf 'root:x:0:\n' >"$dir/etc/group"
	tar -C "$dir" -c . | "$engine" import - "$1" >/dev/null
}

alpine_default() {
	start shell -- || return
	"$engine" exec "$prefix-shell" wget -q -O- http://127.0.0.1:8222/healthz || return
	expect "the user" "$("$engine" exec "$prefix-shell" id -u)" 65532
}

alpine_arguments() {
	local want
	want=$(once "$tag" nats-server --version) || return
	expect "--version alone" "$(once "$tag" --version)" "$want" || return
	expect "a shell's command" "$(once "$tag" sh -c 'nats-server --version')" "$want" || return
	start options -- -m 8222 -js -sd /data || return
	varz_is options port 4222
}
