# shellcheck shell=bash
# Part of scripts/upstream: merge one patch of the series into another version, and say
# what conflicts.
# shellcheck disable=SC2154

# borrow_objects DIR: the objects of the tree of the series. git can merge with three sides
# only where it has the files that a patch was made from.
borrow_objects() {
	[[ ! -d $main_tree/.git/objects ]] || cp -R "$main_tree/.git/objects/." "$1/.git/objects/"
}

# merge_patch DIR FILE: status 0 when the patch is merged and committed, 1 when git am
# has stopped at conflicts, 2 when it cannot be merged at all; the reason is in am.log.
merge_patch() {
	local before
	before=$(g "$1" rev-parse HEAD)
	if am "$1" -3 "$2"; then
		[[ $(g "$1" rev-parse HEAD) != "$before" ]] || commit_empty "$1" "$2"
		return 0
	fi
	[[ -z $(g "$1" ls-files -u) ]] || return 1
	g "$1" am --abort
	return 2
}

# commit_empty DIR FILE: a commit without changes, for a patch that the tree holds already.
# So the commits of a tree remain one for each patch.
commit_empty() {
	local info="$work/mail.info" date
	g "$1" mailinfo "$work/mail.message" /dev/null <"$2" >"$info"
	date=$(sed -n 's/^Date: //p' "$info")
	{ sed -n 's/^Subject: //p' "$info" && printf '\n' && cat "$work/mail.message"; } |
		GIT_AUTHOR_NAME=$(sed -n 's/^Author: //p' "$info") GIT_AUTHOR_EMAIL=$(sed -n 's/^Email: //p' "$info") \
			GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date g "$1" commit -q --allow-empty --no-verify -F -
}

# note_conflicts DIR OUT: a file in the folder OUT for each hunk that conflicts. Its first line
# is "file:function", the others are both sides between git's markers.
note_conflicts() {
	local path count=0
	mkdir -p "$2"
	while IFS= read -r path; do
		if [[ -n $(g "$1" ls-files -u -- "$path" | awk '$3 == 2') && -n $(g "$1" ls-files -u -- "$path" | awk '$3 == 3') ]]; then
			split_hunks "$1/$path" "$path" "$2" "$count"
		else
			note_missing "$1" "$path" >"$(printf '%s/%03d' "$2" "$count")"
		fi
		count=$(find "$2" -type f | wc -l)
	done < <(conflicting "$1")
}

conflicting() { g "$1" -c core.quotePath=false diff --name-only --diff-filter=U; }

# note_missing DIR PATH: the record of a file that one side has removed.
note_missing() {
	if [[ -z $(g "$1" ls-files -u -- "$2" | awk '$3 == 2') ]]; then
		printf '%s:whole file\nupstream has no such file any more; the patch changes it\n' "$2"
	else
		printf '%s:whole file\nthe patch removes the file, which upstream has changed\n' "$2"
	fi
}

# split_hunks FILE NAME OUT COUNT: the function is the one that the hunk declares, or else that of
# the last declaration above it.
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

# conflict_keys DIR: a line for each hunk of note_conflicts, which tells it from any other.
conflict_keys() {
	local file place
	for file in "$1"/*; do
		[[ -e $file ]] || break
		read -r place <"$file"
		printf '%s %s\n' "$("${sha256[@]}" <"$file" | cut -c1-16)" "$place"
	done
}

# resolve DIR SIDE: takes one side of each hunk that conflicts, ours (upstream) or theirs (the
# patch), and of the rest what was merged.
resolve() {
	local dir=$1 side=$2 path stage keep=2
	[[ $side == ours ]] || keep=3
	while IFS= read -r path; do
		for stage in 1 2 3; do
			g "$dir" cat-file blob ":$stage:$path" >"$work/side.$stage" 2>/dev/null || : >"$work/side.$stage"
		done
		if [[ -z $(g "$dir" ls-files -u -- "$path" | awk -v keep="$keep" '$3 == keep') ]]; then
			g "$dir" rm -q --cached -- "$path"
			rm -f "$dir/$path"
			continue
		fi
		if [[ -z $(g "$dir" ls-files -u -- "$path" | awk -v keep="$((5 - keep))" '$3 == keep') ]]; then
			cp "$work/side.$keep" "$dir/$path"
		else
			g "$dir" merge-file -q "--$side" -p "$work/side.2" "$work/side.1" "$work/side.3" >"$work/side"
			cat "$work/side" >"$dir/$path"
		fi
		g "$dir" add -f -- "$path"
	done < <(conflicting "$dir")
}

# finish_patch DIR FILE: commits what was resolved.
finish_patch() {
	if g "$1" diff --cached --quiet HEAD; then
		g "$1" am --skip -q 2>/dev/null
		commit_empty "$1" "$2"
		return
	fi
	am "$1" --continue
}
