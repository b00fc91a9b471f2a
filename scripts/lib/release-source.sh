# shellcheck shell=bash
# Part of scripts/release: checks that a release can be made, before anything is made. scripts/release sets root, out, key,
# version and steps.
# shellcheck disable=SC2154

# need_programs fails if a program is missing, or if tar and date are not GNU's: only these can sort the files of an archive,
# and read a time as seconds since 1970.
need_programs() {
	local name
	for name in git go node npm jq tar sha256sum awk sed xargs; do
		command -v "$name" >/dev/null || die "there is no $name in PATH"
	done
	if ! tar --sort=name --version >/dev/null 2>&1 || ! date -d @0 >/dev/null 2>&1; then
		die "expected GNU's tar and coreutils" "on macOS: brew install gnu-tar coreutils, and put their gnubin folders first in PATH"
	fi
}

# plain_go keeps those settings of the go command that say where modules come from, and removes those that change what is
# compiled. Settings can be environment variables, or be made with go env -w.
plain_go() {
	local name value
	for name in GOAUTH GOCACHE GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB GOPATH GOPRIVATE GOPROXY GOSUMDB GOVCS; do
		value=$(go env "$name")
		export "$name=$value"
	done
	unset GO111MODULE GO386 GOAMD64 GOARCH GOARM GOARM64 GODEBUG GOEXPERIMENT GOFIPS140 GOFLAGS GOOS
	export GOENV=off GOWORK=off CGO_ENABLED=0
}

# check_key fails if the file of --key is not a secret key. It is called before the build, which takes long.
check_key() {
	[[ -z $key ]] || [[ $(sed -n 2p "$key" | tr -d '\r') =~ ^[A-Za-z0-9+/=]{212}$ ]] ||
		die "--key: $key is not a secret key of minisign" "minisign -G -s FILE makes a key"
}

# check_source checks what provenance.json states: that the files are made from a commit, and from the pinned nats-server with
# the series. It also checks that no other commit has the tag of the release.
check_source() {
	local changed tagged ignored
	changed=$(changes) || die "git status failed in $root: see above"
	[[ -z $changed ]] || die "expected no changes in the repository, because provenance.json names a commit; found ${changed//$'\n'/; }" \
		"commit them, or name the steps to run, without sums and sign"
	tagged=$(git rev-parse --quiet --verify "refs/tags/v$version^{commit}") || tagged=''
	[[ -z $tagged || $tagged == "$(git rev-parse HEAD)" ]] ||
		die "the tag v$version is on another commit, ${tagged:0:7}" "git checkout v$version, or raise the release in patches/UPSTREAM"
	"$root/scripts/upstream" make
	"$root/scripts/upstream" check
	ignored=$(git -C upstream status --porcelain --ignored | grep -v '^!! command/$') || true
	[[ -z $ignored ]] || die "./upstream has files that are not of the series: ${ignored//$'\n'/; }" "remove them"
	# git ignores the generated folder command, so it may have changes that the checks above do not see. It is made anew. No
	# other work can be lost by --force, as the checks have shown.
	"$root/scripts/upstream" make --force
}

# clear_out removes files of an earlier run from the output folder. Old sums must not stay beside new files, and a run of all
# steps must not take old files for its own.
clear_out() {
	rm -f "$out"/SHA256SUMS{,.minisig} "$out/provenance.json"
	[[ ${steps[*]} == "${all_steps[*]}" ]] || return 0
	rm -rf "$out/build"
	rm -f "$out"/stamp-*.{tar.gz,zip,tgz,openvex.json} "$out"/nats-{server,callout}[-_]*.{deb,rpm,cdx.json,oci.tar}
}

# check_out fails if the output folder has a file that does not belong to this release, because the step sums would name it.
check_out() {
	local file
	for file in "$out"/*; do
		file=${file##*/}
		case $file in
		build | SHA256SUMS | SHA256SUMS.minisig | provenance.json) ;;
		*"-$version"[-.]* | *"_$version-"* | "stamp-browser-${version/+/-}.tgz") ;;
		*) die "$out has $file, which is no file of the release $version" "remove it, or choose another folder with -o" ;;
		esac
	done
}
