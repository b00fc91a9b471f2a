# shellcheck shell=bash
# Part of scripts/release: the steps. scripts/release sets root, out, version, epoch, targets and key.
# shellcheck disable=SC2154

readonly nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
readonly cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
readonly minisign=aead.dev/minisign/cmd/minisign@v0.3.0

# target_name TARGET prints the target for names of files: linux-armv7 for linux/arm.
target_name() {
	local name=${1/\//-}
	[[ $name != *-arm ]] || name=${name}v7
	printf '%s' "$name"
}

# folder TARGET prints the folder with the binaries of the target. The archive has the same name.
folder() { printf '%s' "$out/build/stamp-$version-$(target_name "$1")"; }

step_binaries() {
	local target
	for target in "${targets[@]}"; do
		rm -rf "$(folder "$target")"
		GOOS=${target%/*} GOARCH=${target#*/} GOARM=7 "$root/scripts/build" --release -o "$(folder "$target")"
	done
}

# need_binaries TARGET fails unless there are binaries of the target.
need_binaries() {
	[[ -d $(folder "$1") ]] || die "there are no binaries for $1 in $out/build" "scripts/release --target $1 binaries makes them"
}

step_archives() {
	local target dir suffix
	mkdir -p "$out/build"
	notices >"$out/build/THIRD-PARTY-NOTICES"
	for target in "${targets[@]}"; do
		need_binaries "$target"
		dir=$(folder "$target")
		documents "$dir"
		suffix=tar.gz
		[[ $target != windows/* ]] || suffix=zip
		go run "$root/scripts/internal/archive" "$dir" "$out/${dir##*/}.$suffix" "$epoch"
	done
}

# documents FOLDER copies the documentation into the folder, with the files of deploy that it names, and the licences of others.
# It writes the manual page of nats-callout, with the date of the commit.
documents() {
	mkdir -p "$1"
	git -C "$root" ls-files -z README.md LICENSE NOTICE CHANGELOG.md SECURITY.md docs deploy/{kubernetes,monitoring,proxies} |
		(cd "$root" && xargs -0 cp --parents -t "$1")
	cp "$out/build/THIRD-PARTY-NOTICES" "$1/"
	(cd "$root" && go run ./cmd/nats-callout --man) |
		sed "1s/\"[0-9]\{4\}-[0-9-]*\"/\"$(date -u -d "@$epoch" +%F)\"/" >"$1/nats-callout.1"
	chmod -R u=rwX,go=rX "$1" # files of a checkout have modes that depend on the umask
}

step_packages() {
	local target name format script architecture command
	command=$(tool "$nfpm")
	rm -rf "$out/build/documents"
	mkdir -p "$out/build"
	notices >"$out/build/THIRD-PARTY-NOTICES"
	documents "$out/build/documents"
	for target in "${targets[@]}"; do
		[[ $target == linux/* ]] || continue
		need_binaries "$target"
		architecture=${target#*/}
		[[ $architecture != arm ]] || architecture=arm7
		for name in nats-server nats-callout; do
			package "$name" "$architecture" "$(folder "$target")" >"$out/build/$name.yaml"
			for script in postinstall preremove postremove posttrans; do
				sed "s/@SERVICE@/$name/g" "$root/deploy/packages/$script.sh" >"$out/build/$name-$script.sh"
			done
			for format in deb rpm; do
				(cd "$root" && "$command" package --config "$out/build/$name.yaml" --packager "$format" --target "$out/")
			done
		done
	done
}

# package NAME ARCHITECTURE FOLDER prints the configuration of nfpm for a package.
package() {
	local name=$1 architecture=$2 dir=$3 file
	cat <<EOF
name: $name
arch: $architecture
platform: linux
version: "${version%%+*}"
version_schema: none
version_metadata: "${version#*+}"
release: "1"
section: net
maintainer: "The Stamp authors <noreply@localhost>"
license: Apache-2.0
mtime: $(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
EOF
	if [[ $name == nats-server ]]; then
		# It replaces a distribution's package because it has the same name. So it must not have a field `replaces`, which would
		# name the package itself.
		printf 'description: nats-server with trusted headers, from the verified user JWT of a connection\n'
	else
		printf 'description: auth callout handler for NATS, of Stamp\n'
	fi
	cat <<EOF
overrides: # useradd is in another package on each distribution of rpm
  deb: { depends: [passwd], recommends: [ca-certificates] }
  rpm: { depends: [/usr/sbin/useradd], recommends: [ca-certificates] }
contents:
  - { dst: /etc/nats, type: dir, file_info: { mode: 0755 } }
  - { src: "$dir/$name", dst: "/usr/bin/$name", file_info: { mode: 0755 } }
  - { src: deploy/systemd/$name.service, dst: "/usr/lib/systemd/system/$name.service", file_info: { mode: 0644 } }
  - { src: deploy/systemd/sysusers.conf, dst: "/usr/lib/sysusers.d/$name.conf", file_info: { mode: 0644 } }
  - { src: LICENSE, dst: "/usr/share/doc/$name/copyright", file_info: { mode: 0644 } }
EOF
	for file in NOTICE THIRD-PARTY-NOTICES README.md CHANGELOG.md SECURITY.md; do
		printf '  - { src: "%s", dst: "/usr/share/doc/%s/%s", file_info: { mode: 0644 } }\n' "$out/build/documents/$file" "$name" "$file"
	done
	for file in docs deploy; do # pages name files of deploy
		printf '  - { src: "%s", dst: "/usr/share/doc/%s/%s", type: tree }\n' "$out/build/documents/$file" "$name" "$file"
	done
	if [[ $name == nats-server ]]; then
		# With the group nats, which postinstall sets, the service can read it.
		printf '  - { src: deploy/packages/nats-server.conf, dst: /etc/nats/nats-server.conf, type: config|noreplace, file_info: { mode: 0640 } }\n'
		# Where Debian's package has the program: units, scripts and health checks of the machine name it there. Not for rpm: in Fedora
		# /usr/sbin is /usr/bin, and the link would replace the program. The link in /usr/local/bin, which the packages of nats-server's
		# releases have, is made by postinstall and posttrans: a package that owned it would replace, and remove, a program of the operator.
		printf '  - { src: /usr/bin/nats-server, dst: /usr/sbin/nats-server, type: symlink, packager: deb }\n'
		printf 'rpm: { scripts: { posttrans: "%s" } }\n' "$out/build/$name-posttrans.sh"
	else
		printf '  - { src: "%s", dst: /usr/share/man/man1/nats-callout.1, file_info: { mode: 0644 } }\n' "$out/build/documents/nats-callout.1"
	fi
	cat <<EOF
scripts:
  postinstall: "$out/build/$name-postinstall.sh"
  preremove: "$out/build/$name-preremove.sh"
  postremove: "$out/build/$name-postremove.sh"
EOF
}

step_npm() {
	rm -rf "$root/browser/dist" # git ignores the folder, so it would not show changes that somebody made there
	"$root/scripts/build-browser"
	# npm packs files with their modes. Files of a checkout have modes that depend on the umask, so set them.
	find "$root/browser" -name node_modules -prune -o -type f -exec chmod u=rwX,go=rX {} +
	(cd "$root/browser" && npm pack --silent --ignore-scripts --pack-destination "$out" >/dev/null)
}

step_sbom() {
	local target file command
	command=$(tool "$cyclonedx")
	for target in "${targets[@]}"; do
		need_binaries "$target"
		for file in "$(folder "$target")"/nats-{server,callout}{,.exe}; do
			[[ -f $file ]] || continue
			"$command" bin -json -std -noserial -notimestamp -version "v$version" -output "$out/build/sbom.json" "$file"
			# The document must not depend on the machine, so it must not have the sums of cyclonedx-gomod's own binary.
			jq 'del(.metadata.tools[].hashes)' "$out/build/sbom.json" >"$out/$(basename "$file" .exe)-$version-$(target_name "$target").cdx.json"
		done
	done
}

step_sums() {
	local sums="$out/build/sums" name
	check_out
	for name in "$out"/*; do
		name=${name##*/}
		# OpenVEX documents are not part of the release, because their content depends on the day.
		case $name in build | SHA256SUMS* | provenance.json | *.openvex.json) continue ;; esac
		(cd "$out" && sha256sum -- "$name")
	done >"$sums"
	[[ -s $sums ]] || die "$out has no files of a release" "scripts/release without the name of a step makes all of them"
	provenance <"$sums" >"$out/provenance.json"
	(cd "$out" && sha256sum provenance.json) >>"$sums"
	mv "$sums" "$out/SHA256SUMS" # this is the last file: a folder that has it has the whole release
}

# provenance prints an in-toto statement with SLSA's provenance predicate (slsa.dev/spec/v1.0/provenance) about the files whose
# sums are on standard input. It is the same in each build of the commit.
provenance() {
	local sum name comma=''
	printf '{\n  "_type": "https://in-toto.io/Statement/v1",\n  "predicateType": "https://slsa.dev/provenance/v1",\n  "subject": ['
	while read -r sum name; do
		printf '%s\n    {"name": "%s", "digest": {"sha256": "%s"}}' "$comma" "$name" "$sum"
		comma=,
	done
	printf '\n  ],\n  "predicate": {"buildDefinition": {\n    "buildType": "scripts/release",\n'
	printf '    "externalParameters": {"version": "%s", "targets": "%s"},\n' "$version" "${targets[*]}"
	printf '    "internalParameters": {"go": "%s"},\n' "$GOTOOLCHAIN"
	printf '    "resolvedDependencies": [\n      {"name": "source", "digest": {"gitCommit": "%s"}},\n' "$(git -C "$root" rev-parse HEAD)"
	printf '      {"name": "%s@%s", "annotations": {"h1": "%s"}}\n    ]}}\n}\n' \
		"$(pinned '' module)" "$(pinned '' version)" "$(pinned '' sum)"
}

step_sign() {
	if [[ -z $key ]]; then
		printf 'release: SHA256SUMS is not signed, because no --key is given\n'
		return
	fi
	[[ -f $out/SHA256SUMS ]] || die "$out has no SHA256SUMS to sign" "scripts/release sums makes it"
	"$(tool "$minisign")" -S -s "$key" -m "$out/SHA256SUMS" -x "$out/SHA256SUMS.minisig" -t "Stamp $version"
}
