# shellcheck shell=bash
# Debian packages, and where newer ones come from when Debian 12's engine is too old.

# Of these the newest is wanted, wherever they come from.
ENGINE_PACKAGES=(docker.io docker-cli docker-buildx docker-compose containerd tini-static)

refresh_apt() { quietly 'apt: refresh the package lists' as_root apt-get update; }

apt_install() {
  # Carries on after a run that was killed in the middle.
  as_root dpkg --configure -a >/dev/null 2>&1 </dev/null || true
  quietly "apt: install $*" as_root env DEBIAN_FRONTEND=noninteractive apt-get install \
    --yes --fix-broken --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

candidate() { apt-cache policy "$1" | sed -n 's/^ *Candidate: *//p'; }

# Debian 12's Docker is 20.10. The one in Debian's forky suite runs on Debian 12: it needs no newer
# libc, and Debian 12's own runc serves it. Nothing else is ever taken from forky.
add_forky() {
  local uri keyring
  find_debian

  # The pins come first: a source without them would offer a whole newer Debian.
  put_file /etc/apt/preferences.d/imagefactory <<END
# Written by imagefactory's ci/setup: only the container engine comes from forky, and stays updated.
Package: *
Pin: release n=forky
Pin-Priority: 50

Package: ${ENGINE_PACKAGES[*]}
Pin: release n=forky
Pin-Priority: 990
END
  put_file /etc/apt/sources.list.d/imagefactory.sources <<END
# Written by imagefactory's ci/setup: see /etc/apt/preferences.d/imagefactory.
Types: deb
URIs: $uri
Suites: forky
Components: main
${keyring:+Signed-By: $keyring}
END
  # In a shell of its own, which alone ends if it fails: left there, the source would break every later update.
  (refresh_apt) || {
    as_root rm -f /etc/apt/sources.list.d/imagefactory.sources /etc/apt/preferences.d/imagefactory
    fail 3 "your mirror's forky suite can't be used (see above), and it has been taken out of apt's sources again:" \
      "mend the mirror or use another, or install Docker Engine $DOCKER_WANTED or newer yourself, then run this again"
  }
}

# Sets uri and keyring: the mirror of Debian 12 that this machine uses, and the file with its key.
find_debian() {
  local entry
  # shellcheck disable=SC2016  # apt fills these in
  entry=$(apt-get indextargets --format '$(SOURCESENTRY) $(REPO_URI)' \
    'Created-By: Packages' 'Label: Debian' 'Codename: bookworm' 'Component: main' | head -n 1)
  [[ $entry ]] || fail 3 "apt's sources hold no Debian 12 main: add it, then run this again"
  uri=${entry#* }
  keyring=$(signed_by "${entry%% *}")
}

# signed_by FILE:N: the key file of that apt source, the Nth of a deb822 file or the Nth line of a list.
signed_by() {
  local file=${1%:*} number=${1##*:}
  case $file in
    *.sources)
      awk -v RS= -v wanted="$number" '/(^|\n)Types:/ && ++n == wanted' "$file" |
        sed -n 's/^Signed-By: *\(\/.*\)/\1/p'
      ;;
    *) sed -n "${number}s/.*signed-by=\([^] ]*\).*/\1/p" "$file" ;;
  esac
}
