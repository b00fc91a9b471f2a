# shellcheck shell=bash
# For scripts that take --line LINE: lets the go command use the tree of that line. The script that sources this file sets
# root.
# shellcheck disable=SC2154

plain_flags=''

# select_line LINE brings upstream-LINE up to date, and makes all later go commands use it instead of ./upstream. It generates
# a module file for them, because go.mod belongs to the main line. If LINE is empty, it only brings ./upstream up to date.
select_line() {
	local dir="$root/.cache/line-$1" path version key
	plain_flags=$(go env GOFLAGS) # for go commands in other modules, which must not get the module file
	if [[ -z $1 ]]; then
		"$root/scripts/upstream" make
		return
	fi
	"$root/scripts/upstream" --line "$1" make
	path=$(pinned "$1" module)
	version=$(pinned "$1" version)
	key="$path $version $(cksum <"$root/go.mod") $(cksum <"$root/go.sum" 2>/dev/null || true)"
	export GOFLAGS="$plain_flags '-modfile=$dir/go.mod'"
	[[ ! -f $dir/key || $(<"$dir/key") != "$key" ]] || return 0
	mkdir -p "$dir"
	cp "$root/go.mod" "$dir/go.mod"
	[[ ! -f $root/go.sum ]] || cp "$root/go.sum" "$dir/go.sum"
	(cd "$root" && GOFLAGS='' GOWORK=off go mod edit -require "$path@$version" \
		-replace "$path=./upstream-$1" "$dir/go.mod")
	# Upstream requires other versions of modules there. This adds their sums to the generated go.sum. The checksum database
	# vouches for them.
	(cd "$root" && go list -mod=mod -deps -test ./... >/dev/null)
	printf '%s\n' "$key" >"$dir/key"
}

# pinned LINE FIELD prints a field of the UPSTREAM file of that line.
pinned() { awk -v field="$2" '$1 == field { print $2 }' "$root/patches${1:+/$1}/UPSTREAM"; }

# check_line LINE ends the script with status 2 if there is no such line.
check_line() {
	[[ -n $1 ]] || {
		printf '%s: --line needs a minor version like 2.14\nhint: scripts/%s --help\n' "${0##*/}" "${0##*/}" >&2
		exit 2
	}
	[[ -f $root/patches/$1/UPSTREAM ]] && [[ $1 =~ ^[0-9]+\.[0-9]+$ ]] && return
	printf '%s: there is no line %s: expected the file patches/%s/UPSTREAM\nhint: --line needs a minor version that has a folder in patches/, such as 2.14\n' \
		"${0##*/}" "$1" "$1" >&2
	exit 2
}
