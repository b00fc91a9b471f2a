# shellcheck shell=bash
# Part of scripts/upstream: merges the main series into another minor version of upstream, which is called a line. If git cannot
# merge a patch by itself, patches/LINE/NAME.diff has a fix-up for it. The fix-up names the hunks that conflict, and has a diff
# from the merge in which these hunks were resolved to upstream's side. If other hunks conflict than the fix-up names, a person
# has to resolve them.
# shellcheck disable=SC2154

# use_line LINE sets the names of the line's files and folders, or those of the main line if LINE is empty.
use_line() {
	line=$1 name=upstream${1:+-$1} line_option=${1:+ --line $1}
	tree="$root/$name" main_tree="$root/upstream" failed="$root/$name.failed" stock="$root/stock${1:+-$1}"
	fixups="$patches${1:+/$1}" pin_file="$patches${1:+/$1}/UPSTREAM" pin_name="patches${1:+/$1}/UPSTREAM"
	[[ -z $1 || -f $pin_file ]] || wrong_usage "--line: expected the file $pin_name, which pins the version of the line $1; found none"
}

# fixups prints the files with fix-ups for the line, one on each line.
fixups() {
	local file
	[[ -n $line ]] || return 0
	for file in "$fixups"/*.diff; do
		[[ ! -e $file ]] || printf '%s\n' "$file"
	done
}

# fixup_of FILE prints the name of the fix-up of that patch: the patch's name without the number, because the number changes
# when a patch is added before it.
fixup_of() {
	local slug=${1##*/}
	slug=${slug#[0-9][0-9][0-9][0-9]-}
	printf '%s/%s.diff' "$fixups" "${slug%.patch}"
}

# check_fixups fails if a fix-up belongs to no patch.
check_fixups() {
	local file
	while IFS= read -r file; do fixup_of "$file" && printf '\n'; done < <(series) >"$work/expected"
	while IFS= read -r file; do
		grep -qxF -- "$file" "$work/expected" || die "${file#"$root"/} belongs to no patch" \
			"give it the name of its patch, without the number, or remove it"
	done < <(fixups)
}

recorded_keys() { [[ ! -f $1 ]] || sed -n 's/^conflict: //p' "$1"; }

problem='' # why the last merge_fixed failed, if its status was above 1

# merge_fixed DIR FILE merges the patch with its fix-up. Its status is
#   0 if the patch is merged;
#   1 if other hunks conflict than the fix-up names: they are in $work/hunks, and git am has stopped there;
#   2 if the patch cannot be merged, and was left out;
#   3 if the patch was merged, but its fix-up does not fit and was left out.
merge_fixed() {
	local dir=$1 file=$2 fixup status=0 stale=0
	fixup=$(fixup_of "$file")
	[[ -n $line ]] || fixup=/nonexistent
	rm -rf "$work/hunks"
	mkdir "$work/hunks"
	merge_patch "$dir" "$file" || status=$?
	if ((status == 2)); then
		problem="cannot be merged: $(sed -n 's/^error: //p' "$work/am.log" | head -n 1)"
		return 2
	fi
	((status == 0)) || note_conflicts "$dir" "$work/hunks"
	if [[ $(conflict_keys "$work/hunks") != "$(recorded_keys "$fixup")" ]]; then
		((status == 0)) || return 1
		problem="conflicts nowhere now, but its fix-up ${fixup#"$root"/} names conflicts"
		return 3
	fi
	((status == 0)) || resolve "$dir" ours
	apply_fixup "$dir" "$fixup" || stale=3
	if ((status)); then
		finish_patch "$dir" "$file" || die "git am cannot continue after ${file##*/}: $(tail -n 1 "$work/am.log")"
	else
		amend "$dir"
	fi
	return "$stale"
}

apply_fixup() {
	grep -q '^diff --git ' "$2" 2>/dev/null || return 0
	git_in "$1" apply --index "$2" 2>"$work/apply.log" || {
		problem="${2#"$root"/} does not apply to the merge: $(sed -n 's/^error: //p' "$work/apply.log" | head -n 1)"
		return 1
	}
}

# amend DIR adds the changes of a fix-up to the commit of its patch.
amend() {
	! git_in "$1" diff --cached --quiet HEAD || return 0
	GIT_COMMITTER_DATE=$(git_in "$1" log -1 --format=%aI) git_in "$1" commit -q --amend --no-edit --no-verify --allow-empty
}

# apply_line DIR DONE merges the patches of the series, except the first DONE of them.
apply_line() {
	local dir=$1 done=$2 file status count=0
	check_fixups
	borrow_objects "$dir"
	while IFS= read -r file; do
		((++count > done)) || continue
		status=0
		merge_fixed "$dir" "$file" || status=$?
		((status == 0)) || line_stopped "$dir" "$file" "$status"
	done < <(series)
}

# line_stopped DIR FILE STATUS ends the script after merge_fixed failed. If hunks conflict, it leaves the tree in
# upstream-LINE.failed, where a person can continue.
line_stopped() {
	case $3 in
	2) die "${2##*/} $problem; ./$name is as it was" "if somebody edited the patch file, restore it: git checkout patches" ;;
	3) die "${2##*/}: $problem; ./$name is as it was" \
		"remove the fix-up; if the tree does not build without it, make a new one (docs/patching.md)" ;;
	esac
	[[ ! -e $failed ]] || die "${2##*/} conflicts; ./$name is as it was" \
		"$name.failed is from an earlier attempt and was left alone: finish it, or remove it to get a new one"
	print_hunks "$work/hunks" >&2
	mv "$1" "$failed"
	die "${2##*/} conflicts with $(git_in "$failed" log -1 --format=%s base); ./$name is as it was" \
		"resolve it in $name.failed, git add, git am --continue, then scripts/upstream$line_option adopt"
}

# continue_line merges the remaining patches, after a person has resolved a conflict in the failed tree.
continue_line() {
	local done
	check_tree "$failed" "$name.failed"
	done=$(git_in "$failed" rev-list --count base..HEAD)
	mv "$failed" "$work/tree"
	apply_line "$work/tree" "$done"
	mv "$work/tree" "$failed"
}

# print_hunks DIR prints the hunks that note_conflicts wrote.
print_hunks() {
	local file
	for file in "$1"/*; do
		[[ ! -e $file ]] || { head -n 1 "$file" && tail -n +2 "$file" | sed 's/^/    /'; }
	done
}

# write_fixups DIR OUT writes fix-ups: the differences between the commits of DIR and the merged series.
write_fixups() {
	local dir=$1 out=$2 back="$work/replay" file id=0
	local -a ids=()
	mkdir -p "$out" "$back/.git/objects/info"
	while IFS= read -r file; do ids+=("$file"); done < <(git_in "$dir" rev-list --reverse base..HEAD)
	same_subjects "$dir"
	git init -q --template= "$back"
	mkdir -p "$back/.git/info"
	cp "$dir/.git/info/attributes" "$back/.git/info/attributes"
	printf '%s\n' "$dir/.git/objects" "$main_tree/.git/objects" >"$back/.git/objects/info/alternates"
	while IFS= read -r file; do
		git_in "$back" reset -q --hard "${ids[id]}^"
		write_fixup "$back" "$file" "${ids[id]}" "$out/$(basename "$(fixup_of "$file")")"
		id=$((id + 1))
	done < <(series)
}

# same_subjects DIR fails unless the tree has one commit for each patch, in the order of the series.
same_subjects() {
	local file
	while IFS= read -r file; do
		git mailinfo /dev/null /dev/null <"$file" | sed -n 's/^Subject: //p'
	done < <(series) >"$work/want.subjects"
	git_in "$1" log --reverse --format=%s base..HEAD >"$work/got.subjects"
	diff "$work/want.subjects" "$work/got.subjects" >"$work/diff" ||
		die "expected one commit for each patch of patches/, found: $(grep '^[<>]' "$work/diff" | paste -sd ';' -)" \
			"commit a change with --fixup, and fold it in with git rebase -i --autosquash base"
}

# write_fixup DIR FILE COMMIT OUT merges the patch FILE again and writes its difference from COMMIT to OUT. Without a difference
# it writes nothing.
write_fixup() {
	local dir=$1 status=0 merged hunks="$work/replay.hunks"
	rm -rf "$hunks"
	mkdir "$hunks"
	merge_patch "$dir" "$2" || status=$?
	((status < 2)) || die "${2##*/} cannot be merged: $(sed -n 's/^error: //p' "$work/am.log" | head -n 1)" \
		"if somebody edited the patch file, restore it: git checkout patches"
	if ((status)); then
		note_conflicts "$dir" "$hunks"
		resolve "$dir" ours
	fi
	merged=$(git_in "$dir" write-tree)
	((status == 0)) || git_in "$dir" am --abort
	conflict_keys "$hunks" | sed 's/^/conflict: /' >"$work/fixup"
	git_in "$dir" diff --full-index --binary --no-renames --no-color --no-ext-diff --no-textconv --diff-algorithm=myers \
		--unified=3 --src-prefix=a/ --dst-prefix=b/ "$merged" "$3" >>"$work/fixup"
	[[ ! -s $work/fixup ]] || cp "$work/fixup" "$4"
}

# export_line DIR NAME writes the fix-ups that the commits of DIR need.
export_line() {
	local dir=$1 file
	check_tree "$dir" "$2"
	write_fixups "$dir" "$work/fixups"
	while IFS= read -r file; do
		[[ -e $work/fixups/${file##*/} ]] || rm "$file"
	done < <(fixups)
	for file in "$work/fixups"/*.diff; do
		[[ ! -e $file ]] || cp "$file" "$fixups/"
	done
	rm -rf "$dir/command"
	make_command "$dir"
	record "$dir"
}
