# shellcheck shell=bash
# For scripts/release and scripts/vex: installs commands of Go modules. The script that sources this file sets root, has die, and
# calls pinned_go first.
# shellcheck disable=SC2154

# pinned_go exports GOTOOLCHAIN, with the version in go.mod's toolchain line.
pinned_go() {
	GOTOOLCHAIN=$(awk '$1 == "toolchain" { print $2 }' "$root/go.mod")
	[[ -n $GOTOOLCHAIN ]] || die "expected a line like 'toolchain go1.26.8' in $root/go.mod, found none"
	export GOTOOLCHAIN
}

# tool MODULE@VERSION installs the command of a Go module, unless it is installed already, and prints its path. It is built with
# the pinned version of Go, because the files that some tools compress depend on the Go version that built the tool.
tool() {
	local name=${1%@*} dir="$root/.cache/tools/$GOTOOLCHAIN/${1##*@}"
	name=${name##*/}
	[[ -x $dir/$name ]] || GOFLAGS='' GOOS='' GOARCH='' GOBIN="$dir" go install "$1" >&2
	printf '%s' "$dir/$name"
}
