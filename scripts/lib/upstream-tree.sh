# shellcheck shell=bash
# Part of scripts/upstream: fetch the module, verify it, make ./upstream and ./stock.
# Wants root, patches, FORMAT and the variables of use_line from there.
# shellcheck disable=SC2154

work='' # scratch folder of this run, beside the tree so that a move is a rename

die() {
	printf 'upstream: %s\n' "$1" >&2
	shift
	(($# == 0)) || printf 'hint: %s\n' "$@" >&2
	exit 1
}

sha256=(sha256sum)
command -v sha256sum >/dev/null || sha256=(shasum -a 256)

# load_pin: the line's UPSTREAM file into pin_module, pin_version, pin_sum and pin_release.
load_pin() {
	local name value rest
	pin_module='' pin_version='' pin_sum='' pin_release=''
	[[ -f $pin_file ]] || die "there is no $pin_name"
	while read -r name value rest || [[ -n $name ]]; do
		[[ -n $name && $name != '#'* ]] || continue
		[[ -n $value && -z $rest ]] || die "$pin_name: $name wants exactly one value"
		case $name in
		module) pin_module=$value ;;
		version) pin_version=$value ;;
		sum) pin_sum=$value ;;
		release) pin_release=$value ;;
		*) die "$pin_name: unknown field $name" "the fields are module, version, sum and release" ;;
		esac
	done <"$pin_file"
	[[ -n $pin_module && -n $pin_version && $pin_sum == h1:* ]] ||
		die "$pin_name wants a module, a version and a sum that begins with h1:"
	[[ $pin_release =~ ^stamp\.[1-9][0-9]*$ ]] ||
		die "$pin_name: expected a release like stamp.1, found ${pin_release:-none}"
}

series() { # the patch files in order, one a line; names hold no newline (format-patch makes them)
	local file
	for file in "$patches"/[0-9][0-9][0-9][0-9]-*.patch; do
		[[ ! -e $file ]] || printf '%s\n' "$file"
	done
}

# digest: of all that the tree is made from.
digest() {
	local -a files=("$patches/UPSTREAM")
	local file
	while IFS= read -r file; do files+=("$file"); done < <(series)
	[[ -z $line ]] || files+=("$pin_file")
	while IFS= read -r file; do files+=("$file"); done < <(fixups)
	(cd "$patches" && printf 'format %s\n' "$FORMAT" && "${sha256[@]}" "${files[@]#"$patches"/}") | "${sha256[@]}" | cut -c1-64
}

# g DIR ARG...: git in that tree and in no other. Without --git-dir a broken
# tree would lead git up to the repository around it.
g() {
	local dir=$1
	shift
	git -C "$dir" --git-dir=.git --work-tree=. "$@"
}

# The user's and the system's settings must not change a byte of what is made here.
isolate_git() {
	local name
	while IFS= read -r name; do unset "$name"; done < <(git rev-parse --local-env-vars)
	unset GIT_DIFF_OPTS GIT_EXTERNAL_DIFF GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
	export GIT_COMMITTER_NAME=Stamp GIT_COMMITTER_EMAIL=stamp@localhost
	export LC_ALL=C TZ=UTC
}

# One run at a time. The kernel drops a flock with its process; without flock
# (macOS) a folder is the lock, and a run that was killed leaves it behind.
lock() {
	if command -v flock >/dev/null; then
		exec 9>"$root/upstream.lock"
		flock 9
		return
	fi
	local tries=0
	until mkdir "$root/upstream.lock.d" 2>/dev/null; do
		((++tries < 600)) || die "upstream.lock.d has been held for 10 minutes" \
			"if no other scripts/upstream runs, remove upstream.lock.d"
		sleep 1
	done
	locked=1
}

locked=''
cleanup() {
	[[ -z $work ]] || rm -rf "$work"
	[[ -z $locked ]] || rmdir "$root/upstream.lock.d" 2>/dev/null || true
}

begin() { # every command but a make that finds nothing to do
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	isolate_git
	lock
	rm -rf "$root"/upstream.tmp.* # of runs that were killed; the lock says none is alive
	work=$(mktemp -d "$root/upstream.tmp.XXXXXX")
	load_pin
}

# h1 DIR PREFIX: the sum of go.sum (golang.org/x/mod/sumdb/dirhash, Hash1) of
# the files of DIR under the names PREFIX/... It is computed from what was
# unpacked, since the go command checks its cache's folder only in `go mod verify`.
h1() {
	local hex
	hex=$(cd "$1" && find . -name .git -prune -o -type f -print | sed 's|^\./||' | sort |
		tr '\n' '\0' | xargs -0 "${sha256[@]}" |
		awk -v prefix="$2" '{print $1 "  " prefix "/" substr($0, 67)}' | "${sha256[@]}" | cut -c1-64)
	# shellcheck disable=SC2001 # every pair of digits, not one
	printf 'h1:'
	printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" | base64
}

# go_scratch ARG...: the go command in an empty module, deaf to workspaces and
# to flags that name this module's files.
go_scratch() {
	local flags='' flag
	for flag in $(go env GOFLAGS | sed -E "s/[\"']-modfile=[^\"']*[\"']//g"); do
		[[ $flag == -mod=* || $flag == --mod=* || $flag == -modfile=* || $flag == --modfile=* ]] || flags+=" $flag"
	done
	mkdir -p "$work/scratch"
	printf 'module scratch\n\ngo 1.22\n' >"$work/scratch/go.mod"
	(cd "$work/scratch" && GOFLAGS=${flags# } GOWORK=off GOTOOLCHAIN=local GO111MODULE=on go "$@" 9>&-)
}

json_string() { # json_string NAME FILE: a top-level string of `go mod download -json`
	sed -n "s/^[[:space:]]*\"$1\": \"\\(.*\\)\",\\{0,1\\}\$/\\1/p" "$2" | head -n 1
}

# fetch VERSION DIR [SUM]: unpack the module, writable, into DIR. With a SUM
# that pin is what is trusted, so the checksum database is not asked and the
# module cache is enough; without one the database vouches for it.
fetch() {
	local version=$1 dir=$2 sum=${3-} module=$pin_module answer="$work/download.json" source got
	command -v go >/dev/null || die "no go command in PATH"
	if ! GOSUMDB=$([[ -n $sum ]] && echo off || go env GOSUMDB) \
		go_scratch mod download -json "$module@$version" >"$answer" 2>"$work/download.err"; then
		cat "$work/download.err" >&2
		die "cannot download $module@$version: $(json_string Error "$answer")"
	fi
	source=$(json_string Dir "$answer")
	fetched_version=$(json_string Version "$answer")
	[[ -d $source ]] || die "go mod download named no folder for $module@$version"
	mkdir -p "$dir"
	cp -R "$source/." "$dir/"
	chmod -R u+w "$dir"
	got=$(h1 "$dir" "$module@$fetched_version")
	sum=${sum:-$(json_string Sum "$answer")}
	[[ $got == "$sum" ]] || die "$module@$fetched_version has the sum $got, not $sum, which is pinned or vouched for" \
		"if the module cache is damaged, \`go clean -modcache\` empties it; else do not trust this download"
	fetched_sum=$got
}
fetched_sum='' fetched_version='' # of the last fetch

# init_tree DIR VERSION: a repository of DIR's files, whose ids are the same on
# every machine: fixed names and dates, bytes as they are.
init_tree() {
	local dir=$1 attributes='* -text -ident -filter -working-tree-encoding'
	git -c init.defaultBranch=stamp init -q --template= "$dir"
	mkdir -p "$dir/.git/info"
	printf '%s\n' "$attributes" >"$dir/.git/info/attributes"
	printf '/command/\n' >"$dir/.git/info/exclude"
	local setting
	for setting in core.autocrlf=false core.safecrlf=false core.excludesFile=/dev/null \
		core.attributesFile=/dev/null core.hooksPath=/dev/null commit.gpgSign=false tag.gpgSign=false \
		gc.auto=0 maintenance.auto=false user.name=Stamp user.email=stamp@localhost; do
		g "$dir" config "${setting%%=*}" "${setting#*=}"
	done
	commit_base "$dir" "$2"
}

commit_base() {
	g "$1" add -f -A
	GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z \
		g "$1" commit -q --no-verify -m "nats-server $2"
	g "$1" tag -f base >/dev/null
}

# record DIR: what the tree was made from, and the commit that this gave.
record() {
	g "$1" rev-parse HEAD >"$1/.git/stamp-head"
	digest >"$1/.git/stamp-digest"
}

current() {
	[[ -f $tree/.git/stamp-digest && -f $tree/command/main.go && $(<"$tree/.git/stamp-digest") == "$(digest)" ]]
}

# Folders that this script makes in a tree: command, and usage in trees of earlier versions of it.
readonly generated='^!! (command|usage)/'

# local_work: what a new tree would lose, in words; nothing when there is none.
local_work() {
	local count head
	[[ -e $tree ]] || return 0
	if [[ ! -f $tree/.git/stamp-head ]]; then
		printf 'it was not made by this script\n'
		return
	fi
	head=$(<"$tree/.git/stamp-head")
	[[ $(g "$tree" rev-parse HEAD) == "$head" ]] || printf 'its commits are not those of the series\n'
	count=$(g "$tree" status --porcelain --untracked-files=all --ignored | grep -cvE "$generated" || true)
	((count == 0)) || printf '%s files are changed or new\n' "$count"
}

# replace NEW: puts a finished tree in the place of the old one. A run that is
# interrupted between the two moves leaves no tree, never half of one.
replace() {
	[[ ! -e $tree ]] || mv "$tree" "$work/old"
	mv "$1" "$tree"
}

cmd_make() {
	local force=$1 lost
	! current || return 0
	# A line is merged from the main series, whose tree has the objects to merge with.
	[[ -z $line ]] || "$root/scripts/upstream" make
	begin
	! current || return 0 # another run has just made it
	lost=$(local_work)
	[[ -z $lost || -n $force ]] || die "./$name is stale and holds work that is not in patches/: ${lost//$'\n'/; }" \
		"scripts/upstream$line_option export keeps the work" "scripts/upstream$line_option make --force throws it away"
	printf 'upstream: making ./%s of %s\n' "$name" "$pin_version" >&2
	fetch "$pin_version" "$work/tree" "$pin_sum"
	init_tree "$work/tree" "$pin_version"
	if [[ -z $line ]]; then apply_series "$work/tree"; else apply_line "$work/tree" 0; fi
	make_command "$work/tree"
	record "$work/tree"
	replace "$work/tree"
}

cmd_stock() {
	local pin
	load_pin
	pin="$pin_version $pin_sum"
	[[ ! -f $stock/.stamp-pin || $(<"$stock/.stamp-pin") != "$pin" ]] || return 0
	begin
	printf 'upstream: making ./%s of %s\n' "${stock##*/}" "$pin_version" >&2
	fetch "$pin_version" "$work/stock" "$pin_sum"
	printf '%s\n' "$pin" >"$work/stock/.stamp-pin"
	[[ ! -e $stock ]] || mv "$stock" "$work/old"
	mv "$work/stock" "$stock"
}
