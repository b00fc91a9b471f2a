# shellcheck shell=bash
# Part of scripts/upstream: downloads the module, checks its sum, and makes ./upstream and ./stock. scripts/upstream sets root,
# patches and FORMAT; use_line sets the others.
# shellcheck disable=SC2154

work='' # temporary folder of this run. It is beside the tree, so a finished tree can be renamed into place

die() {
	printf 'upstream: %s\n' "$1" >&2
	shift
	(($# == 0)) || printf 'hint: %s\n' "$@" >&2
	exit 1
}

sha256=(sha256sum)
command -v sha256sum >/dev/null || sha256=(shasum -a 256)

# load_pin reads the line's UPSTREAM file into pin_module, pin_version, pin_sum and pin_release.
load_pin() {
	local name value rest
	pin_module='' pin_version='' pin_sum='' pin_release=''
	[[ -f $pin_file ]] || die "there is no file $pin_name, which pins the version of nats-server" "restore it with git"
	while read -r name value rest || [[ -n $name ]]; do
		[[ -n $name && $name != '#'* ]] || continue
		[[ -n $value && -z $rest ]] || die "$pin_name: $name: expected exactly one value, found ${value:-none}${rest:+ and $rest}"
		case $name in
		module) pin_module=$value ;;
		version) pin_version=$value ;;
		sum) pin_sum=$value ;;
		release) pin_release=$value ;;
		*) die "$pin_name: unknown field $name" "the fields are module, version, sum and release" ;;
		esac
	done <"$pin_file"
	[[ -n $pin_module && -n $pin_version && $pin_sum == h1:* ]] ||
		die "$pin_name: expected the fields module, version, and sum with a value that begins with h1:"
	[[ $pin_release =~ ^stamp\.[1-9][0-9]*$ ]] ||
		die "$pin_name: expected a release like stamp.1, found ${pin_release:-none}"
}

# series prints the patch files in order, one on each line. git format-patch names them, so no name has a line break.
series() {
	local file
	for file in "$patches"/[0-9][0-9][0-9][0-9]-*.patch; do
		[[ ! -e $file ]] || printf '%s\n' "$file"
	done
}

# digest prints a digest of everything that the tree is made from.
digest() {
	local -a files=("$patches/UPSTREAM")
	local file
	while IFS= read -r file; do files+=("$file"); done < <(series)
	[[ -z $line ]] || files+=("$pin_file")
	while IFS= read -r file; do files+=("$file"); done < <(fixups)
	(cd "$patches" && printf 'format %s\n' "$FORMAT" && "${sha256[@]}" "${files[@]#"$patches"/}") | "${sha256[@]}" | cut -c1-64
}

# git_in DIR ARG... runs git on the tree DIR. Without --git-dir, git would use the repository around the tree if the tree had none.
git_in() {
	local dir=$1
	shift
	git -C "$dir" --git-dir=.git --work-tree=. "$@"
}

# isolate_git makes git ignore the settings of the user and of the system, which could change what is made here.
isolate_git() {
	local name
	while IFS= read -r name; do unset "$name"; done < <(git rev-parse --local-env-vars)
	unset GIT_DIFF_OPTS GIT_EXTERNAL_DIFF GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
	export GIT_COMMITTER_NAME=Stamp GIT_COMMITTER_EMAIL=stamp@localhost
	export LC_ALL=C TZ=UTC
}

# lock waits until no other run holds the lock. The kernel releases a flock when its process ends. Where there is no flock
# (macOS), a folder is the lock, and a run that is killed leaves it behind.
lock() {
	if command -v flock >/dev/null; then
		exec 9>"$root/upstream.lock"
		flock 9
		return
	fi
	local tries=0
	until mkdir "$root/upstream.lock.d" 2>/dev/null; do
		((++tries < 600)) || die "another run has held the lock, the folder upstream.lock.d, for 10 minutes" \
			"if no other scripts/upstream is running, remove upstream.lock.d"
		sleep 1
	done
	locked=1
}

locked=''
cleanup() {
	[[ -z $work ]] || rm -rf "$work"
	[[ -z $locked ]] || rmdir "$root/upstream.lock.d" 2>/dev/null || true
}

# begin prepares a run. Each command calls it, except a make that finds the tree up to date.
begin() {
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	isolate_git
	lock
	rm -rf "$root"/upstream.tmp.* # left by runs that were killed; no other run is active, because we hold the lock
	work=$(mktemp -d "$root/upstream.tmp.XXXXXX")
	load_pin
}

# h1 DIR PREFIX prints the sum of the files of DIR, under the names PREFIX/..., as go.sum has it (Hash1 in
# golang.org/x/mod/sumdb/dirhash). It is computed from the unpacked files, because the go command does not check the folders of
# its module cache, except in `go mod verify`.
h1() {
	local hex
	hex=$(cd "$1" && find . -name .git -prune -o -type f -print | sed 's|^\./||' | sort |
		tr '\n' '\0' | xargs -0 "${sha256[@]}" |
		awk -v prefix="$2" '{print $1 "  " prefix "/" substr($0, 67)}' | "${sha256[@]}" | cut -c1-64)
	# shellcheck disable=SC2001 # the edit is for each pair of digits, which bash's substitution cannot do
	printf 'h1:'
	printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" | base64
}

# go_scratch ARG... runs the go command in an empty module. It ignores workspaces, and flags in GOFLAGS that name files of this
# module.
go_scratch() {
	local flags='' flag
	for flag in $(go env GOFLAGS | sed -E "s/[\"']-modfile=[^\"']*[\"']//g"); do
		[[ $flag == -mod=* || $flag == --mod=* || $flag == -modfile=* || $flag == --modfile=* ]] || flags+=" $flag"
	done
	mkdir -p "$work/scratch"
	printf 'module scratch\n\ngo 1.22\n' >"$work/scratch/go.mod"
	(cd "$work/scratch" && GOFLAGS=${flags# } GOWORK=off GOTOOLCHAIN=local GO111MODULE=on go "$@" 9>&-)
}

# json_string NAME FILE prints a top-level string of the output of `go mod download -json`.
json_string() {
	sed -n "s/^[[:space:]]*\"$1\": \"\\(.*\\)\",\\{0,1\\}\$/\\1/p" "$2" | head -n 1
}

# fetch VERSION DIR [SUM] downloads the module and copies its files, writable, into DIR. If a SUM is given, the files must have
# that sum, and the checksum database is not asked, so this works offline if the module is in the cache. Otherwise the database
# vouches for the files.
fetch() {
	local version=$1 dir=$2 sum=${3-} module=$pin_module answer="$work/download.json" source got
	command -v go >/dev/null || die "there is no go in PATH" "install Go 1.26"
	if ! GOSUMDB=$([[ -n $sum ]] && echo off || go env GOSUMDB) \
		go_scratch mod download -json "$module@$version" >"$answer" 2>"$work/download.err"; then
		cat "$work/download.err" >&2
		die "cannot download $module@$version: $(json_string Error "$answer")"
	fi
	source=$(json_string Dir "$answer")
	fetched_version=$(json_string Version "$answer")
	[[ -d $source ]] || die "expected the name of a folder from go mod download -json $module@$version, found ${source:-none}"
	mkdir -p "$dir"
	cp -R "$source/." "$dir/"
	chmod -R u+w "$dir"
	got=$(h1 "$dir" "$module@$fetched_version")
	sum=${sum:-$(json_string Sum "$answer")}
	[[ $got == "$sum" ]] || die "$module@$fetched_version has the sum $got, but expected $sum, as pinned or as in the checksum database" \
		"if the module cache is damaged, \`go clean -modcache\` empties it; otherwise do not trust this download"
	fetched_sum=$got
}
fetched_sum='' fetched_version='' # of the last fetch

# init_tree DIR VERSION makes a git repository of the files in DIR. Names and dates are fixed and bytes are not changed, so the
# commit ids are the same on every machine.
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
		git_in "$dir" config "${setting%%=*}" "${setting#*=}"
	done
	commit_base "$dir" "$2"
}

commit_base() {
	git_in "$1" add -f -A
	GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z \
		git_in "$1" commit -q --no-verify -m "nats-server $2"
	git_in "$1" tag -f base >/dev/null
}

# record DIR notes in the tree the digest of what it was made from, and its newest commit.
record() {
	git_in "$1" rev-parse HEAD >"$1/.git/stamp-head"
	digest >"$1/.git/stamp-digest"
}

is_current() {
	[[ -f $tree/.git/stamp-digest && -f $tree/command/main.go && $(<"$tree/.git/stamp-digest") == "$(digest)" ]]
}

# The folders that this script generates in a tree. Earlier versions of it generated a folder usage.
readonly generated='^!! (command|usage)/'

# local_work describes the work in the tree that would be lost if the tree were replaced. It prints nothing if there is none.
local_work() {
	local count head
	[[ -e $tree ]] || return 0
	if [[ ! -f $tree/.git/stamp-head ]]; then
		printf 'scripts/upstream did not make it\n'
		return
	fi
	head=$(<"$tree/.git/stamp-head")
	[[ $(git_in "$tree" rev-parse HEAD) == "$head" ]] || printf 'it has other commits than the series\n'
	count=$(git_in "$tree" status --porcelain --untracked-files=all --ignored | grep -cvE "$generated" || true)
	((count == 0)) || printf '%s files are changed or new\n' "$count"
}

# replace NEW replaces the tree by a finished one. If the run is interrupted between the two moves, there is no tree, but never
# an incomplete one.
replace() {
	[[ ! -e $tree ]] || mv "$tree" "$work/old"
	mv "$1" "$tree"
}

cmd_make() {
	local force=$1 lost
	! is_current || return 0
	# The tree of a line is made by merging the main series, which needs the objects of the main tree.
	[[ -z $line ]] || "$root/scripts/upstream" make
	begin
	! is_current || return 0 # another run made it while this one waited for the lock
	lost=$(local_work)
	[[ -z $lost || -n $force ]] || die "./$name is stale and holds work that is not in patches/: ${lost//$'\n'/; }" \
		"scripts/upstream$line_option export keeps the work" "scripts/upstream$line_option make --force throws it away"
	printf 'upstream: making ./%s from nats-server %s\n' "$name" "$pin_version" >&2
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
	printf 'upstream: making ./%s from nats-server %s\n' "${stock##*/}" "$pin_version" >&2
	fetch "$pin_version" "$work/stock" "$pin_sum"
	printf '%s\n' "$pin" >"$work/stock/.stamp-pin"
	[[ ! -e $stock ]] || mv "$stock" "$work/old"
	mv "$work/stock" "$stock"
}
