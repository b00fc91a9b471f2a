# shellcheck shell=bash
# For scripts/release and scripts/vex: commands of Go modules. Wants root from there, and GOTOOLCHAIN from pinned_go.
# shellcheck disable=SC2154

# pinned_go: exports GOTOOLCHAIN as go.mod's toolchain line has it.
pinned_go() {
	GOTOOLCHAIN=$(awk '$1 == "toolchain" { print $2 }' "$root/go.mod")
	[[ -n $GOTOOLCHAIN ]] || die "go.mod has no toolchain line"
	export GOTOOLCHAIN
}

# tool MODULE@VERSION: makes the command of a Go module, once for each version, and prints its file. The pinned Go
# makes it too: what a tool compresses depends on the Go that built the tool.
tool() {
	local name=${1%@*} dir="$root/.cache/tools/$GOTOOLCHAIN/${1##*@}"
	name=${name##*/}
	[[ -x $dir/$name ]] || GOFLAGS='' GOOS='' GOARCH='' GOBIN="$dir" go install "$1" >&2
	printf '%s' "$dir/$name"
}
