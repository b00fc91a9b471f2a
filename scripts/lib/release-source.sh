# shellcheck shell=bash
# Part of scripts/release: what has to be so before anything is made. It wants root, out, key, version and steps from there.
# shellcheck disable=SC2154

# need_programs: GNU's, because others write archives in another order and know no seconds since 1970.
need_programs() {
	local name
	for name in git go node npm jq tar sha256sum awk sed xargs; do
		command -v "$name" >/dev/null || die "there is no $name in PATH"
	done
	if ! tar --sort=name --version >/dev/null 2>&1 || ! date -d @0 >/dev/null 2>&1; then
		die "expected GNU's tar and coreutils" "on macOS: brew install gnu-tar coreutils, and put their gnubin folders first in PATH"
	fi
}

# plain_go: settings of the go command that say where modules come from stay, and those that change what is compiled go,
# whether they are in the environment or were made with go env -w.
plain_go() {
	local name value
	for name in GOAUTH GOCACHE GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB GOPATH GOPRIVATE GOPROXY GOSUMDB GOVCS; do
		value=$(go env "$name")
		export "$name=$value"
	done
	unset GO111MODULE GO386 GOAMD64 GOARCH GOARM GOARM64 GODEBUG GOEXPERIMENT GOFIPS140 GOFLAGS GOOS
	export GOENV=off GOWORK=off CGO_ENABLED=0
}

# check_key: before the build, and not after it.
check_key() {
	[[ -z $key ]] || [[ $(sed -n 2p "$key" | tr -d '\r') =~ ^[A-Za-z0-9+/=]{212}$ ]] ||
		die "--key: $key is not a secret key of minisign" "minisign -G -s FILE makes one"
}

# check_source: provenance.json says that the files are made of a commit and of the pinned nats-server with the series. So they
# must be, and no other commit may have the release's name.
check_source() {
	local changes tagged ignored
	changes=$(git status --porcelain) || die "git cannot say whether the repository has changes"
	[[ -z $changes ]] || die "expected no changes in the repository, because provenance.json names a commit; found ${changes//$'\n'/; }" \
		"commit them; or name the steps that you want, without sums and sign"
	tagged=$(git rev-parse --quiet --verify "refs/tags/v$version^{commit}") || tagged=''
	[[ -z $tagged || $tagged == "$(git rev-parse HEAD)" ]] ||
		die "the tag v$version is on another commit, ${tagged:0:7}" "git checkout v$version; or raise the release in patches/UPSTREAM"
	"$root/scripts/upstream" make
	"$root/scripts/upstream" check
	ignored=$(git -C upstream status --porcelain --ignored | grep -v '^!! command/$') || true
	[[ -z $ignored ]] || die "./upstream has files that are not of the series: ${ignored//$'\n'/; }" "remove them"
	# The folder command is generated, and git ignores it. So it is made anew; nothing else is lost.
	"$root/scripts/upstream" make --force
}

# clear_out: removes what an earlier run left in DIR. Sums of other files must not stay beside new ones, and a full run
# must not count old files as its own.
clear_out() {
	rm -f "$out"/SHA256SUMS{,.minisig} "$out/provenance.json"
	[[ ${steps[*]} == "${all_steps[*]}" ]] || return 0
	rm -rf "$out/build"
	rm -f "$out"/stamp-*.{tar.gz,zip,tgz,openvex.json} "$out"/nats-{server,callout}[-_]*.{deb,rpm,cdx.json,oci.tar}
}

# check_out: sums are of files that this release has.
check_out() {
	local file
	for file in "$out"/*; do
		file=${file##*/}
		case $file in
		build | SHA256SUMS | SHA256SUMS.minisig | provenance.json) ;;
		*"-$version"[-.]* | *"_$version-"* | "stamp-browser-${version/+/-}.tgz") ;;
		*) die "$out has $file, which is no file of the release $version" "remove it, or give another folder with -o" ;;
		esac
	done
}
