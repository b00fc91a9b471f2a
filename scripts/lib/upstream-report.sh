# shellcheck shell=bash
# Part of scripts/upstream: reports what the series changes in upstream, and how it fits another version.
# shellcheck disable=SC2154

# touched DIR FROM TO prints four numbers: how many of upstream's files differ, how many lines were added to them, how many of
# their lines were changed or removed, and how many files are new. Files that earlier patches made are not counted.
# A changed line counts once: if a hunk replaces r lines by a lines, r lines are changed or removed, and a-r lines are added.
touched() {
	local dir=$1
	git_in "$dir" ls-tree -r --name-only base >"$work/base.files"
	git_in "$dir" -c core.quotePath=false diff --no-renames --no-color --no-ext-diff --diff-algorithm=myers -U0 "$2" "$3" |
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
	while IFS= read -r id; do ids+=("$id"); done < <(git_in "$tree" rev-list --reverse --no-merges base..HEAD)
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

# fetch_tree VERSION DIR downloads that version and makes a repository of it. The pinned version must have the pinned sum.
fetch_tree() {
	local sum=''
	[[ $1 != "$pin_version" ]] || sum=$pin_sum
	fetch "$1" "$2" "$sum"
	init_tree "$2" "$fetched_version"
}

# cmd_try VERSION KEEP merges the whole series into that version, and prints the hunks that conflict. Each conflict is resolved
# to the side of the patch. So later patches find what they expect, and no conflict is reported twice.
cmd_try() {
	local dir
	begin
	dir="$work/try"
	fetch_tree "$1" "$dir"
	need_objects
	borrow_objects "$dir"
	printf '%s %s %s\n' "$pin_module" "$fetched_version" "$fetched_sum"
	try_series "$dir"
	if [[ -n $2 ]]; then
		rm -rf "$root/upstream.try"
		mv "$dir" "$root/upstream.try"
		printf 'The tree is in upstream.try, with each conflict resolved to the side of the patch.\n'
	fi
	printf '%d conflicts in %d hunks (%d lines)\n' "$conflicts" "$hunks" "$hunk_lines"
	((conflicts == 0))
}

conflicts=0 hunks=0 hunk_lines=0 # counted by try_series; a file that conflicts in a patch is one conflict
try_series() {
	local file status
	check_fixups
	while IFS= read -r file; do
		status=0
		merge_fixed "$1" "$file" || status=$?
		case $status in
		0) continue ;;
		1) ;;
		*)
			conflicts=$((conflicts + 1))
			printf '%s: %s\n' "${file##*/}" "$problem"
			continue
			;;
		esac
		printf '%s conflicts:\n' "${file##*/}"
		print_hunks "$work/hunks"
		count_hunks
		resolve "$1" theirs
		finish_patch "$1" "$file"
	done < <(series)
}

count_hunks() {
	local files lines
	files=$(awk 'FNR == 1 && !seen[substr($0, 1, index($0, ":"))]++ { n++ } END { print n + 0 }' "$work"/hunks/*)
	lines=$(awk 'FNR > 1 && !/^(<<<<<<< |=======$|>>>>>>> )/ { n++ } END { print n + 0 }' "$work"/hunks/*)
	conflicts=$((conflicts + files))
	hunks=$((hunks + $(find "$work/hunks" -type f | wc -l)))
	hunk_lines=$((hunk_lines + lines))
}

# need_objects makes a tree of the main series for this run, if that tree is missing or stale. If the series does not apply to
# the pinned version, the stale tree is used, because there is no better one.
need_objects() {
	local -a files=()
	local file
	! (use_line '' && is_current) || return 0
	while IFS= read -r file; do files+=("$file"); done < <(series)
	(use_line '' && load_pin && fetch "$pin_version" "$work/pinned" "$pin_sum" && init_tree "$work/pinned" "$pin_version")
	((${#files[@]} == 0)) || git_am "$work/pinned" "${files[@]}" || return 0
	main_tree="$work/pinned"
}

# cmd_drift FROM TO DEEP prints what changed between two versions of upstream in the code that our patches use or change.
cmd_drift() {
	local from=${1:-} deep=$3
	begin
	[[ -d $tree/.git ]] || die "there is no ./$name" "scripts/upstream$line_option makes it"
	plain_tree "${from:-$pin_version}" "$work/from"
	from=$fetched_version
	plain_tree "$2" "$work/to"
	our_lines >"$work/ours"
	exports >"$work/exports"
	build_drift "$work/drift"
	printf '%s -> %s\n' "$from" "$fetched_version"
	"$work/drift" ${deep:+-deep} -tree "$tree" -from "$work/from" -to "$work/to" -ours "$work/ours" -exports "$work/exports"
}

build_drift() {
	local -a files
	files=("$root"/scripts/internal/drift/{main,ours,decls,uses,report}.go)
	go_scratch build -o "$1" "${files[@]}"
}

# plain_tree VERSION DIR downloads the files of that version. The pinned version must have the pinned sum.
plain_tree() {
	local sum=''
	[[ $1 != "$pin_version" ]] || sum=$pin_sum
	fetch "$1" "$2" "$sum"
}

# our_lines prints a line "new FILE" for each Go file that the series adds, and "line FILE FROM TO" for each range of lines that
# it adds or changes in a file of upstream. If it only removes lines there, TO is FROM-1.
our_lines() {
	git_in "$tree" -c core.quotePath=false diff --no-renames --no-color --no-ext-diff -U0 base HEAD -- '*.go' | awk '
		/^diff --git / { fresh = 0; body = 0; next }
		/^new file mode / && !body { fresh = 1; next }
		/^\+\+\+ b\// && !body { file = substr($0, 7); if (fresh) print "new", file; next }
		/^@@ / { body = 1; if (fresh || file == "") next
			split(substr($3, 2), at, ",")
			n = at[2] == "" ? 1 : at[2]
			print "line", file, at[1], at[1] + n - 1 }'
}

# exports prints a line "PATH=FILE" for each package that the server imports: FILE has the types of the package, as the go
# command compiled it. Without these files, drift compares names only.
exports() {
	(cd "$root" && go list -e -export -deps -f '{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}' "$pin_module/server" 2>/dev/null 9>&-) || true
}
