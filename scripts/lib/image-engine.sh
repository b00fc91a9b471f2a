# shellcheck shell=bash
# Part of scripts/image: an engine, and a base image where none can be pulled.
# shellcheck disable=SC2154

engine='' # podman or docker
work=''   # scratch folder of this run

# find_engine: sets engine, and settings for podman that this machine allows.
find_engine() {
	local name
	[[ -z $engine ]] || return 0
	for name in ${STAMP_ENGINE:-podman docker}; do
		if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
			engine=$name
			break
		fi
	done
	[[ -n $engine ]] || die "neither podman nor docker works here" "scripts/image engine installs podman on Debian"
	[[ $engine != podman ]] || fit_limits
}

# fit_limits: podman asks for as many as 1048576 open files (its default
# nofile limit), and a machine whose hard limit is lower, without CAP_SYS_RESOURCE,
# refuses to start any container. A containers.conf of our own says less.
fit_limits() {
	local hard
	hard=$(ulimit -Hn)
	[[ -z ${CONTAINERS_CONF-} && $hard != unlimited ]] || return 0
	((hard < 1048576)) || return 0
	mkdir -p "$root/.cache"
	export CONTAINERS_CONF="$root/.cache/containers.conf"
	printf '[containers]\ndefault_ulimits = ["nofile=1024:%d", "nproc=1024:4096"]\n' \
		$((hard < 4096 ? hard : 4096)) >"$CONTAINERS_CONF"
}

install_packages() {
	command -v apt-get >/dev/null || die "no apt-get here, so $* must be installed by hand"
	((EUID == 0)) || die "installing $* wants root"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1 || {
		tail -n 20 "$work/apt.log" >&2
		die "apt-get could not install $*"
	}
}

cmd_engine() {
	if command -v podman >/dev/null && command -v podman-compose >/dev/null; then
		return
	fi
	# runc, not crun: podman has no preference, and runc is what docker has.
	install_packages podman podman-compose runc netavark aardvark-dns iptables
}

# cmd_base: a stand-in for golang:1.26-bookworm with what the Dockerfile needs
# of it: Debian, git, CA certificates, time zones, Go, and its environment.
cmd_base() {
	local goroot dir="$work/base" bundle=/usr/local/share/machine-ca.crt
	local -a changes=(
		'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
		'ENV GOTOOLCHAIN=local' 'ENV GOPATH=/go' 'WORKDIR /go'
	)
	find_engine
	((EUID == 0)) || die "debootstrap wants root"
	command -v debootstrap >/dev/null || install_packages debootstrap
	goroot=$(go env GOROOT)
	[[ $(go env GOVERSION) == go1.26* ]] || die "$base_image wants Go 1.26, but here is $(go env GOVERSION)"
	printf 'image: making %s from Debian packages and %s\n' "$base_image" "$(go env GOVERSION)" >&2
	debootstrap --variant=minbase --include=ca-certificates,git,tzdata bookworm "$dir" >"$work/debootstrap.log" 2>&1 || {
		tail -n 20 "$work/debootstrap.log" >&2
		die "debootstrap failed"
	}
	cp -a "$goroot" "$dir/usr/local/go"
	# The certificates that this machine trusts are for downloads in the build
	# stage alone: the image must get Debian's, which stay where they are.
	if [[ -f ${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} ]]; then
		cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$dir$bundle"
		changes+=("ENV SSL_CERT_FILE=$bundle")
	fi
	tar -C "$dir" -c . | "$engine" import "${changes[@]/#/--change=}" - "$base_image" >/dev/null
	rm -rf "$dir"
}
