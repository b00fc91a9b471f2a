# shellcheck shell=bash
# For scripts that take --line LINE: the go command with the tree of that line. Wants root
# from there.
# shellcheck disable=SC2154

plain_flags=''

# select_line LINE: makes upstream-LINE current, and lets every go command that follows use it in the
# place of ./upstream. The module file for that is generated, since go.mod is of the main line.
# With an empty LINE there is only ./upstream to be made current.
select_line() {
	local dir="$root/.cache/line-$1" path version key
	plain_flags=$(go env GOFLAGS) # for the go command in folders that are modules of their own
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
	# The sums of what upstream requires there, if they are not in go.sum; the checksum database vouches for them.
	(cd "$root" && go list -mod=mod -deps -test ./... >/dev/null)
	printf '%s\n' "$key" >"$dir/key"
}

# pinned LINE FIELD: of the UPSTREAM file of that line.
pinned() { awk -v field="$2" '$1 == field { print $2 }' "$root/patches${1:+/$1}/UPSTREAM"; }

# check_line LINE: fails with status 2 where there is no such line.
check_line() {
	[[ -f $root/patches/$1/UPSTREAM ]] && [[ $1 =~ ^[0-9]+\.[0-9]+$ ]] && return
	printf '%s: there is no line %s: expected the file patches/%s/UPSTREAM\n' "${0##*/}" "$1" "$1" >&2
	exit 2
}
