# shellcheck shell=bash
# Part of scripts/upstream: what the series touches, and how it does on another version.
# shellcheck disable=SC2154

# touched DIR FROM TO: "files added gone new": files of upstream that differ,
# lines added to them, lines of them changed or removed, and files that are new.
# A file that an earlier patch made is neither.
# Of a hunk that takes r lines away and puts a in their place, r are changed or
# removed and only the a-r beyond them are added: a changed line counts once.
touched() {
	local dir=$1
	g "$dir" ls-tree -r --name-only base >"$work/base.files"
	g "$dir" -c core.quotePath=false diff --no-renames --no-color --no-ext-diff --diff-algorithm=myers -U0 "$2" "$3" |
		awk -v list="$work/base.files" '
			function hunk() { if (old) { gone += r; if (a > r) added += a - r }; a = r = 0 }
			BEGIN { while ((getline line < list) > 0) base[line] = 1 }
			/^diff --git / { hunk(); body = 0; name = substr($0, 14, (length($0) - 14) / 2 - 1)
				old = name in base; if (old) files++; next }
			/^new file mode / && !body { new++; next }
			/^@@ / { hunk(); body = 1; next }
			body && /^\+/ { a++ }
			body && /^-/ { r++ }
			END { hunk(); print files + 0, added + 0, gone + 0, new + 0 }'
}

cmd_stat() {
	local file id files added gone new count=0
	local -a ids=()
	begin
	[[ -d $tree/.git ]] || die "there is no ./upstream" "scripts/upstream makes it"
	write_series "$tree" "$work/series"
	while IFS= read -r id; do ids+=("$id"); done < <(g "$tree" rev-list --reverse --no-merges base..HEAD)
	for file in "$work"/series/*.patch; do
		[[ -e $file ]] || break
		id=${ids[count++]}
		read -r files added gone new < <(touched "$tree" "$id^" "$id")
		printf '%s: files %d, lines +%d ~%d, new files %d\n' "${file##*/}" "$files" "$added" "$gone" "$new"
	done
	read -r files added gone new < <(touched "$tree" base HEAD)
	printf 'existing upstream lines touched: %d (added %d, changed or removed %d)\n' $((added + gone)) "$added" "$gone"
	printf 'existing upstream files touched: %d; new files: %d\n' "$files" "$new"
}

# fetch_tree VERSION DIR: fetch, and make it a repository; the pin counts for the pinned version.
fetch_tree() {
	local sum=''
	[[ $1 != "$pin_version" ]] || sum=$pin_sum
	fetch "$1" "$2" "$sum"
	init_tree "$2" "$fetched_version"
}

cmd_try() {
	local dir="$work/try" file bad=0 total=0
	begin
	dir="$work/try"
	fetch_tree "$1" "$dir"
	borrow_objects "$dir"
	printf '%s %s %s\n' "$pin_module" "$fetched_version" "$fetched_sum"
	while IFS= read -r file; do
		total=$((total + 1))
		if am "$dir" "$file"; then
			printf '%s: applies\n' "${file##*/}"
			continue
		fi
		bad=$((bad + 1))
		g "$dir" am --abort
		if am "$dir" -3 "$file"; then
			printf '%s: applies by a three-way merge alone\n' "${file##*/}"
			continue
		fi
		printf '%s: fails: %s\n' "${file##*/}" "$(am_conflicts "$dir" | paste -sd ' ' -)"
		g "$dir" am --abort
	done < <(series)
	if [[ -n $2 ]]; then
		rm -rf "$root/upstream.try"
		mv "$dir" "$root/upstream.try"
		printf 'the tree is in upstream.try\n'
	fi
	printf '%d of %d patches apply as they are\n' $((total - bad)) "$total"
	((bad == 0))
}

# pin: another version into patches/UPSTREAM and go.mod; the tree is stale after it.
cmd_pin() {
	begin
	fetch "$1" "$work/tree"
	awk -v version="$fetched_version" -v sum="$fetched_sum" '
		$1 == "version" { print "version " version; next }
		$1 == "sum" { print "sum     " sum; next }
		{ print }' "$patches/UPSTREAM" >"$work/UPSTREAM"
	cp "$work/UPSTREAM" "$patches/UPSTREAM"
	[[ ! -f $root/go.mod ]] || (cd "$root" && GOWORK=off go mod edit -require "$pin_module@$fetched_version" 9>&-)
	printf 'patches/UPSTREAM pins %s %s\n' "$fetched_version" "$fetched_sum"
}
