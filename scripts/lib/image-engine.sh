# shellcheck shell=bash
# Part of scripts/image: finds or installs a container engine, and makes a base image if none can be pulled.
# shellcheck disable=SC2154

engine='' # podman or docker
work=''   # temporary folder of this run

# find_engine sets engine, and for podman limits that this machine allows.
find_engine() {
	local name
	[[ -z $engine ]] || return 0
	for name in ${STAMP_ENGINE:-podman docker}; do
		if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
			engine=$name
			break
		fi
	done
	[[ -n $engine ]] || die "no container engine works: tried ${STAMP_ENGINE:-podman docker} with the command info" "scripts/image engine installs podman on Debian"
	[[ $engine != podman ]] || fit_limits
}

# fit_limits writes a containers.conf with lower limits. By default, podman gives each container a limit of 1048576 open files.
# If the hard limit of this machine is lower, and without CAP_SYS_RESOURCE, no container can be started.
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
	command -v apt-get >/dev/null || die "there is no apt-get to install $*" "install them by hand"
	((EUID == 0)) || die "only root can install $*" "run this as root, or install them first"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1 || {
		tail -n 20 "$work/apt.log" >&2
		die "apt-get could not install $*: see above"
	}
}

cmd_engine() {
	if command -v podman >/dev/null && command -v podman-compose >/dev/null; then
		return
	fi
	# podman runs with either runc or crun. docker uses runc, so the tests use it too.
	install_packages podman podman-compose runc netavark aardvark-dns iptables
}

# cmd_base makes a stand-in for the image golang:1.26-bookworm. It has what the Dockerfile needs of that image: Debian, git, CA
# certificates, time zones, Go, and the environment.
cmd_base() {
	local goroot dir="$work/base" bundle=/usr/local/share/machine-ca.crt
	local -a changes=(
		'ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
		'ENV GOTOOLCHAIN=local' 'ENV GOPATH=/go' 'WORKDIR /go'
	)
	find_engine
	((EUID == 0)) || die "only root can run debootstrap, which makes the base image" "run this as root"
	command -v debootstrap >/dev/null || install_packages debootstrap
	goroot=$(go env GOROOT)
	[[ $(go env GOVERSION) == go1.26* ]] || die "expected Go 1.26 on this machine, for the base image $base_image; found $(go env GOVERSION)" "install Go 1.26"
	printf 'image: making %s from Debian packages and %s\n' "$base_image" "$(go env GOVERSION)" >&2
	debootstrap --variant=minbase --include=ca-certificates,git,tzdata bookworm "$dir" >"$work/debootstrap.log" 2>&1 || {
		tail -n 20 "$work/debootstrap.log" >&2
		die "debootstrap could not make a Debian system: see above"
	}
	cp -a "$goroot" "$dir/usr/local/go"
	# Downloads in the build stage use the certificates that this machine trusts. They are in a file of their own, so that
	# Debian's certificates stay as they are.
	if [[ -f ${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} ]]; then
		cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$dir$bundle"
		changes+=("ENV SSL_CERT_FILE=$bundle")
	fi
	tar -C "$dir" -c . | "$engine" import "${changes[@]/#/--change=}" - "$base_image" >/dev/null
	rm -rf "$dir"
}
