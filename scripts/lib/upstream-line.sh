# shellcheck shell=bash
# Part of scripts/upstream: a second line, which is the main series merged into another minor
# version of upstream. What the merge cannot do by itself is recorded in a fix-up for each patch,
# patches/LINE/NAME.diff: which hunks conflict, and the difference from the merge in which
# upstream's side of each of these hunks was taken. If other hunks conflict than those
# recorded, a person has to look.
# shellcheck disable=SC2154

# use_line LINE: the files and folders of that line; of the main one when LINE is empty.
use_line() {
	line=$1 name=upstream${1:+-$1} line_option=${1:+ --line $1}
	tree="$root/$name" main_tree="$root/upstream" failed="$root/$name.failed" stock="$root/stock${1:+-$1}"
	fixups="$patches${1:+/$1}" pin_file="$patches${1:+/$1}/UPSTREAM" pin_name="patches${1:+/$1}/UPSTREAM"
	[[ -z $1 || -f $pin_file ]] || wrong_usage "there is no line $1: expected $pin_name"
}

fixups() { # the fix-ups of the line, one a line
	local file
	[[ -n $line ]] || return 0
	for file in "$fixups"/*.diff; do
		[[ ! -e $file ]] || printf '%s\n' "$file"
	done
}

# fixup_of FILE: the fix-up of that patch. Its name is the patch's without the number, since
# the number changes when a patch is put before it.
fixup_of() {
	local slug=${1##*/}
	slug=${slug#[0-9][0-9][0-9][0-9]-}
	printf '%s/%s.diff' "$fixups" "${slug%.patch}"
}

# check_fixups: each belongs to a patch.
check_fixups() {
	local file
	while IFS= read -r file; do fixup_of "$file" && printf '\n'; done < <(series) >"$work/expected"
	while IFS= read -r file; do
		grep -qxF -- "$file" "$work/expected" || die "${file#"$root"/} belongs to no patch" \
			"rename it as the patch is named, without the number, or remove it"
	done < <(fixups)
}

recorded_keys() { [[ ! -f $1 ]] || sed -n 's/^conflict: //p' "$1"; }

problem='' # why the last merge_fixed failed with a status above 1

# merge_fixed DIR FILE: merges the patch with its fix-up. Status 1: hunks conflict that no fix-up
# is for; they are in $work/hunks, and git am has stopped there. 2: the patch cannot be merged
# and was left out. 3: it was merged, but its fix-up does not fit and was left out.
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
		problem="conflicts nowhere now, but ${fixup#"$root"/} is for conflicts"
		return 3
	fi
	((status == 0)) || resolve "$dir" ours
	apply_fixup "$dir" "$fixup" || stale=3
	if ((status)); then
		finish_patch "$dir" "$file" || die "git am cannot go on after ${file##*/}: $(tail -n 1 "$work/am.log")"
	else
		amend "$dir"
	fi
	return "$stale"
}

apply_fixup() {
	grep -q '^diff --git ' "$2" 2>/dev/null || return 0
	g "$1" apply --index "$2" 2>"$work/apply.log" || {
		problem="${2#"$root"/} does not apply to the merge: $(sed -n 's/^error: //p' "$work/apply.log" | head -n 1)"
		return 1
	}
}

# amend DIR: what a fix-up has changed goes into the patch's own commit.
amend() {
	! g "$1" diff --cached --quiet HEAD || return 0
	GIT_COMMITTER_DATE=$(g "$1" log -1 --format=%aI) g "$1" commit -q --amend --no-edit --no-verify --allow-empty
}

# apply_line DIR DONE: merges the patches of the series after the first DONE.
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

# line_stopped DIR FILE STATUS: leaves the tree where a person can go on.
line_stopped() {
	case $3 in
	2) die "${2##*/} $problem; ./$name is as it was" "is the patch what scripts/upstream export wrote?" ;;
	3) die "${2##*/}: $problem; ./$name is as it was" \
		"remove the fix-up; if the tree then does not build, make a new one (docs/patching.md)" ;;
	esac
	[[ ! -e $failed ]] || die "${2##*/} conflicts; ./$name is as it was" \
		"$name.failed is of an earlier attempt and was left alone; finish it, or remove it to have a new one"
	print_hunks "$work/hunks" >&2
	mv "$1" "$failed"
	die "${2##*/} conflicts with $(g "$failed" log -1 --format=%s base); ./$name is as it was" \
		"resolve it in $name.failed, git add, git am --continue, then scripts/upstream$line_option adopt"
}

# continue_line: after a conflict was resolved by hand in the failed tree, the patches after it.
continue_line() {
	local done
	wants_tree "$failed" "$name.failed"
	done=$(g "$failed" rev-list --count base..HEAD)
	mv "$failed" "$work/tree"
	apply_line "$work/tree" "$done"
	mv "$work/tree" "$failed"
}

# print_hunks DIR: what note_conflicts found.
print_hunks() {
	local file
	for file in "$1"/*; do
		[[ ! -e $file ]] || { head -n 1 "$file" && tail -n +2 "$file" | sed 's/^/    /'; }
	done
}

# write_fixups DIR OUT: what the commits of DIR differ by from the merged series.
write_fixups() {
	local dir=$1 out=$2 back="$work/replay" file id=0
	local -a ids=()
	mkdir -p "$out" "$back/.git/objects/info"
	while IFS= read -r file; do ids+=("$file"); done < <(g "$dir" rev-list --reverse base..HEAD)
	same_subjects "$dir"
	git init -q --template= "$back"
	mkdir -p "$back/.git/info"
	cp "$dir/.git/info/attributes" "$back/.git/info/attributes"
	printf '%s\n' "$dir/.git/objects" "$main_tree/.git/objects" >"$back/.git/objects/info/alternates"
	while IFS= read -r file; do
		g "$back" reset -q --hard "${ids[id]}^"
		write_fixup "$back" "$file" "${ids[id]}" "$out/$(basename "$(fixup_of "$file")")"
		id=$((id + 1))
	done < <(series)
}

# same_subjects DIR: one commit for each patch, in the order of the series.
same_subjects() {
	local file
	while IFS= read -r file; do
		git mailinfo /dev/null /dev/null <"$file" | sed -n 's/^Subject: //p'
	done < <(series) >"$work/want.subjects"
	g "$1" log --reverse --format=%s base..HEAD >"$work/got.subjects"
	diff "$work/want.subjects" "$work/got.subjects" >"$work/diff" ||
		die "expected one commit for each patch of patches/, found: $(grep '^[<>]' "$work/diff" | paste -sd ';' -)" \
			"commit a change with --fixup, and fold it in with git rebase -i --autosquash base"
}

# write_fixup DIR FILE COMMIT OUT
write_fixup() {
	local dir=$1 status=0 merged hunks="$work/replay.hunks"
	rm -rf "$hunks"
	mkdir "$hunks"
	merge_patch "$dir" "$2" || status=$?
	((status < 2)) || die "${2##*/} cannot be merged" "is the patch what scripts/upstream export wrote?"
	if ((status)); then
		note_conflicts "$dir" "$hunks"
		resolve "$dir" ours
	fi
	merged=$(g "$dir" write-tree)
	((status == 0)) || g "$dir" am --abort
	conflict_keys "$hunks" | sed 's/^/conflict: /' >"$work/fixup"
	g "$dir" diff --full-index --binary --no-renames --no-color --no-ext-diff --no-textconv --diff-algorithm=myers \
		--unified=3 --src-prefix=a/ --dst-prefix=b/ "$merged" "$3" >>"$work/fixup"
	[[ ! -s $work/fixup ]] || cp "$work/fixup" "$4"
}

# export_line DIR NAME: the fix-ups of the line become what the commits of DIR want.
export_line() {
	local dir=$1 file
	wants_tree "$dir" "$2"
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
