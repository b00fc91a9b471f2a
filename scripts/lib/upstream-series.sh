# shellcheck shell=bash
# Part of scripts/upstream: applies the patch files as commits, and writes commits as patch files.
# shellcheck disable=SC2154

# git_am DIR ARG... runs git am with options that make the same commits on every machine. Its output goes to am.log.
git_am() {
	local dir=$1
	shift
	git_in "$dir" am -q --keep-cr --committer-date-is-author-date "$@" >"$work/am.log" 2>&1
}

apply_series() {
	local dir=$1 file
	local -a files=()
	while IFS= read -r file; do files+=("$file"); done < <(series)
	((${#files[@]})) || return 0
	git_am "$dir" "${files[@]}" || series_failed "$dir" "${files[@]}"
}

# git_am_conflicts DIR prints the files to which the patch at which git am stopped does not apply, one on each line.
git_am_conflicts() {
	{
		sed -n 's/^error: patch failed: \(.*\):[0-9]*$/\1/p; s/^error: \(.*\): patch does not apply$/\1/p
			s/^error: \(.*\): does not exist in index$/\1/p; s/^error: \(.*\): already exists in index$/\1/p' "$work/am.log"
		git_in "$1" diff --name-only --diff-filter=U
	} | sort -u
}

# series_failed DIR FILE... names the patch that does not apply, and leaves the tree in upstream.failed, where a person can
# finish it. It applies the series again by three-way merges. git can do that only if it has the files that a patch was made
# from, so the objects of the earlier tree are copied first.
series_failed() {
	local dir=$1 next patch files left=$name.failed
	shift
	next=$(<"$dir/.git/rebase-apply/next")
	patch=${!next}
	files=$(git_am_conflicts "$dir" | paste -sd ' ' -)
	cat "$work/am.log" >&2
	[[ ! -e $failed ]] || die "${patch##*/} does not apply to ${files:-the tree}; ./$name is as it was" \
		"$left is from an earlier attempt and was left alone: finish it, or remove it to get a new one"
	git_in "$dir" am --abort
	borrow_objects "$dir"
	if git_am "$dir" -3 "$@"; then
		mv "$dir" "$failed"
		die "${patch##*/} applies to ${files:-the tree} only by a three-way merge; ./$name is as it was" \
			"check the merged tree in $left, then take it with scripts/upstream adopt"
	fi
	files=$(git_am_conflicts "$dir" | paste -sd ' ' -)
	next=$(<"$dir/.git/rebase-apply/next")
	mv "$dir" "$failed"
	die "${!next##*/} does not apply to ${files:-the tree}; ./$name is as it was" \
		"$left has the patches up to the conflict: resolve it there, git add, git am --continue, then scripts/upstream adopt"
}

# write_series DIR OUT writes a patch file for each commit. Each option whose default depends on settings or on the version of
# git is given, so that the same commits give the same bytes.
write_series() {
	mkdir -p "$2"
	git_in "$1" format-patch -q -o "$2" --zero-commit --full-index --no-signature --no-stat --no-numbered \
		--subject-prefix=PATCH --filename-max-length=64 --no-attach --no-thread --no-cover-letter --no-notes \
		--no-renames --no-color --no-ext-diff --no-textconv --diff-algorithm=myers --unified=3 \
		--src-prefix=a/ --dst-prefix=b/ base..HEAD
}

# check_tree DIR NAME fails unless DIR is a tree that this script made from the pinned version, and all work in it is
# committed.
check_tree() {
	local dir=$1 name=$2 base="$work/base" changed
	[[ -d $dir/.git || $name != *.failed ]] || die "there is no $name to adopt: only a patch that conflicts leaves that tree"
	[[ -d $dir/.git ]] || die "there is no $name" "scripts/upstream$line_option makes it"
	[[ ! -d $dir/.git/rebase-apply && ! -d $dir/.git/rebase-merge ]] ||
		die "a rebase or git am is going on in $name" "finish it there, or end it with git rebase --abort or git am --abort"
	changed=$(git_in "$dir" status --porcelain --untracked-files=all)
	[[ -z $changed ]] || die "$name has work that is not committed: $(head -n 5 <<<"$changed" | paste -sd ';' -)" \
		"commit it in $name first"
	changed=$(git_in "$dir" status --porcelain --untracked-files=all --ignored | grep '^!!' | grep -vE "$generated" | head -n 5 || true)
	[[ -z $changed ]] || printf 'upstream: note: git ignores these files, so they are in no patch: %s\n' "$(paste -sd ';' - <<<"$changed")" >&2
	git_in "$dir" merge-base --is-ancestor base HEAD ||
		die "expected the commits of $name to begin at its tag base, which is upstream without patches" \
			"rebase them onto the tag base"
	rm -rf "$base"
	mkdir "$base"
	GIT_INDEX_FILE="$work/base.index" git_in "$dir" read-tree base
	GIT_INDEX_FILE="$work/base.index" git_in "$dir" checkout-index -a --prefix="$base/"
	changed=$(h1 "$base" "$pin_module@$pin_version")
	[[ $changed == "$pin_sum" ]] ||
		die "the commit base of $name has the sum $changed, but $pin_name pins $pin_sum" \
			"keep work of yours outside of $name, then scripts/upstream$line_option make --force makes it anew"
}

# round_trip DIR SERIES fails unless git am makes the same files from the series, and writing these commits gives the same
# series. A merge, an empty commit or a commit message with a line of three dashes would get lost.
round_trip() {
	local dir=$1 new=$2 back="$work/round"
	local -a files=("$new"/*.patch)
	[[ -e ${files[0]} ]] || files=()
	git init -q --template= "$back"
	mkdir -p "$back/.git/info" "$back/.git/objects/info"
	cp "$dir/.git/info/attributes" "$back/.git/info/attributes"
	printf '%s\n' "$dir/.git/objects" >"$back/.git/objects/info/alternates"
	git_in "$back" reset -q --hard "$(git_in "$dir" rev-parse base^{commit})"
	git_in "$back" tag base
	((${#files[@]} == 0)) || git_am "$back" "${files[@]}" || {
		cat "$work/am.log" >&2
		die "the commits of ${dir##*/} cannot be exported: git am refuses the patches written from them" \
			"the series must have no merges and no empty commits"
	}
	[[ $(git_in "$back" rev-parse 'HEAD^{tree}') == "$(git_in "$dir" rev-parse 'HEAD^{tree}')" ]] ||
		die "the commits of ${dir##*/} cannot be exported: the patches written from them give other files" \
			"the series must have no merges"
	write_series "$back" "$new.again"
	diff -r "$new" "$new.again" >&2 || die "the commits of ${dir##*/} cannot be exported: applied and written again, the patches above differ" \
		"a commit message must not hold a line of three dashes, or lines that look like a diff or a mail header"
}

# export_from DIR NAME writes the commits of DIR to patches/.
export_from() {
	local dir=$1 new="$work/series" file unsquashed
	check_tree "$dir" "$2"
	unsquashed=$(git_in "$dir" log --format=%s base..HEAD | grep -E -m 1 '^(fixup|squash|amend)! ' || true)
	[[ -z $unsquashed ]] || die "a commit of $2 is not squashed yet: $unsquashed" "run in $2: git rebase -i --autosquash base"
	write_series "$dir" "$new"
	round_trip "$dir" "$new"
	while IFS= read -r file; do
		[[ -e $new/${file##*/} ]] || rm "$file"
	done < <(series)
	for file in "$new"/*.patch; do
		[[ ! -e $file ]] || cmp -s "$file" "$patches/${file##*/}" || cp "$file" "$patches/"
	done
	rm -rf "$dir/command"
	make_command "$dir"
	record "$dir"
}

cmd_export() {
	begin
	if [[ -z $line ]]; then export_from "$tree" "./$name"; else export_line "$tree" "./$name"; fi
}

# cmd_adopt FORCE replaces the tree by the failed one, whose conflicts a person has resolved, and exports it.
cmd_adopt() {
	local lost
	begin
	lost=$(local_work)
	[[ -z $lost || -n $1 ]] || die "./$name holds work that is not in patches/: ${lost//$'\n'/; }" \
		"scripts/upstream$line_option adopt --force throws it away"
	[[ -z $line ]] || continue_line
	if [[ -z $line ]]; then export_from "$failed" "$name.failed"; else export_line "$failed" "$name.failed"; fi
	replace "$failed"
}

# compare_files OLD NEW PATTERN compares the files that match the pattern in two folders. It prints the differences, and fails
# if there are any.
compare_files() {
	local file bad=0
	while IFS= read -r file; do
		diff -u "$1/$file" "$2/$file" >"$work/diff" 2>&1 && continue
		bad=1
		printf 'upstream: %s/%s is not what ./%s gives:\n' "${1#"$root"/}" "$file" "$name" >&2
		head -n 20 "$work/diff" >&2
	done < <(find "$1" "$2" -maxdepth 1 -name "$3" | sed 's|.*/||' | sort -u)
	((!bad))
}

cmd_check() {
	begin
	check_tree "$tree" "./$name"
	if [[ -z $line ]]; then
		write_series "$tree" "$work/series"
		compare_files "$patches" "$work/series" '[0-9][0-9][0-9][0-9]-*.patch' ||
			die "patches/ and the commits of ./$name differ" \
				"scripts/upstream export keeps the commits; scripts/upstream make --force keeps patches/"
	else
		write_fixups "$tree" "$work/fixups"
		compare_files "$fixups" "$work/fixups" '*.diff' ||
			die "${fixups#"$root"/} and the commits of ./$name differ" \
				"scripts/upstream$line_option export keeps the commits; scripts/upstream$line_option make --force keeps patches/"
	fi
	is_current || die "./$name is stale: $pin_name or the patches have changed since it was made" \
		"scripts/upstream$line_option makes it anew"
	check_places
}
