# shellcheck shell=bash
# Part of scripts/upstream: merges one patch of the series into another version, and reports conflicts.
# shellcheck disable=SC2154

# borrow_objects DIR copies the git objects of the main tree. A three-way merge needs the files that a patch was made from.
borrow_objects() {
	[[ ! -d $main_tree/.git/objects ]] || cp -R "$main_tree/.git/objects/." "$1/.git/objects/"
}

# merge_patch DIR FILE merges a patch. Its status is 0 if the patch is merged and committed, 1 if git am has stopped at
# conflicts, and 2 if the patch cannot be merged at all; then am.log has the reason.
merge_patch() {
	local before
	before=$(git_in "$1" rev-parse HEAD)
	if git_am "$1" -3 "$2"; then
		[[ $(git_in "$1" rev-parse HEAD) != "$before" ]] || commit_empty "$1" "$2"
		return 0
	fi
	[[ -z $(git_in "$1" ls-files -u) ]] || return 1
	git_in "$1" am --abort
	return 2
}

# commit_empty DIR FILE makes a commit without changes, for a patch whose changes the tree has already. So each patch still has
# a commit of its own.
commit_empty() {
	local info="$work/mail.info" date
	git_in "$1" mailinfo "$work/mail.message" /dev/null <"$2" >"$info"
	date=$(sed -n 's/^Date: //p' "$info")
	{ sed -n 's/^Subject: //p' "$info" && printf '\n' && cat "$work/mail.message"; } |
		GIT_AUTHOR_NAME=$(sed -n 's/^Author: //p' "$info") GIT_AUTHOR_EMAIL=$(sed -n 's/^Email: //p' "$info") \
			GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date git_in "$1" commit -q --allow-empty --no-verify -F -
}

# note_conflicts DIR OUT writes a file into the folder OUT for each hunk that conflicts. The first line of the file is
# "file:function"; the others are both sides of the conflict, between git's markers.
note_conflicts() {
	local path count=0
	mkdir -p "$2"
	while IFS= read -r path; do
		if [[ -n $(git_in "$1" ls-files -u -- "$path" | awk '$3 == 2') && -n $(git_in "$1" ls-files -u -- "$path" | awk '$3 == 3') ]]; then
			split_hunks "$1/$path" "$path" "$2" "$count"
		else
			note_missing "$1" "$path" >"$(printf '%s/%03d' "$2" "$count")"
		fi
		count=$(find "$2" -type f | wc -l)
	done < <(conflicting "$1")
}

conflicting() { git_in "$1" -c core.quotePath=false diff --name-only --diff-filter=U; }

# note_missing DIR PATH prints what note_conflicts writes for a file that one side has removed.
note_missing() {
	if [[ -z $(git_in "$1" ls-files -u -- "$2" | awk '$3 == 2') ]]; then
		printf '%s:whole file\nupstream has no such file any more; the patch changes it\n' "$2"
	else
		printf '%s:whole file\nthe patch removes the file, which upstream has changed\n' "$2"
	fi
}

# split_hunks FILE NAME OUT COUNT writes the hunks of a file for note_conflicts. The function that it names is the one that the
# hunk declares, or otherwise the last one that is declared above it.
split_hunks() {
	awk -v name="$2" -v out="$3" -v n="$4" '
		function declared(line,    type) {
			if (line !~ /^func /) { split(line, word, /[ ({=]/); return word[1] " " word[2] }
			sub(/^func /, "", line)
			if (match(line, /^\([^)]*\) */)) {
				type = substr(line, 2, RLENGTH)
				line = substr(line, RLENGTH + 1)
				sub(/\).*/, "", type)
				sub(/.*[ *]/, "", type)
				type = type "."
			}
			sub(/[[(].*/, "", line)
			return type line
		}
		function end_hunk(    file) {
			file = sprintf("%s/%03d", out, n++)
			printf "%s:%s\n%s>>>>>>> patch\n", name, own == "" ? place : own, hunk >file
			close(file)
			if (own != "") place = own
			inside = 0
		}
		/^<<<<<<< / { inside = 1; own = ""; hunk = "<<<<<<< upstream\n"; next }
		inside && /^>>>>>>> / { end_hunk(); next }
		/^(func|type|var|const) / { if (!inside) place = declared($0); else if (own == "") own = declared($0) }
		inside { hunk = hunk $0 "\n" }' "$1"
}

# conflict_keys DIR prints a line for each hunk that note_conflicts wrote, with a checksum that identifies the hunk.
conflict_keys() {
	local file place
	for file in "$1"/*; do
		[[ -e $file ]] || break
		read -r place <"$file"
		printf '%s %s\n' "$("${sha256[@]}" <"$file" | cut -c1-16)" "$place"
	done
}

# resolve DIR SIDE resolves each hunk that conflicts to one side, ours (upstream) or theirs (the patch), and keeps what was
# merged without a conflict.
resolve() {
	local dir=$1 side=$2 path stage keep=2
	[[ $side == ours ]] || keep=3
	while IFS= read -r path; do
		for stage in 1 2 3; do
			git_in "$dir" cat-file blob ":$stage:$path" >"$work/side.$stage" 2>/dev/null || : >"$work/side.$stage"
		done
		if [[ -z $(git_in "$dir" ls-files -u -- "$path" | awk -v keep="$keep" '$3 == keep') ]]; then
			git_in "$dir" rm -q --cached -- "$path"
			rm -f "$dir/$path"
			continue
		fi
		if [[ -z $(git_in "$dir" ls-files -u -- "$path" | awk -v keep="$((5 - keep))" '$3 == keep') ]]; then
			cp "$work/side.$keep" "$dir/$path"
		else
			git_in "$dir" merge-file -q "--$side" -p "$work/side.2" "$work/side.1" "$work/side.3" >"$work/side"
			cat "$work/side" >"$dir/$path"
		fi
		git_in "$dir" add -f -- "$path"
	done < <(conflicting "$dir")
}

# finish_patch DIR FILE commits the resolved patch.
finish_patch() {
	if git_in "$1" diff --cached --quiet HEAD; then
		git_in "$1" am --skip -q 2>/dev/null
		commit_empty "$1" "$2"
		return
	fi
	git_am "$1" --continue
}
