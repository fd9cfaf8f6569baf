# shellcheck shell=bash
# Apptainer: is one there that serves, and, on Debian 12, a package of it.

APPTAINER_WANTED=1.2
SINGULARITY_WANTED=4.0
# Debian packages Apptainer in sid alone, for a libc that Debian 12 lacks. These libraries go into a folder of
# its own beside it, which nothing else on the machine uses.
APPTAINER_LIBRARIES=(libc6 libseccomp2 libsqlite3-0 zlib1g)
APPTAINER_COMPANIONS=(squashfs-tools squashfuse fuse2fs fuse-overlayfs fakeroot uidmap iproute2 ca-certificates)

setup_apptainer() {
  new_enough || install_apptainer
  install_companions
  new_enough ||
    fail 3 "apptainer: Apptainer $APPTAINER_WANTED or SingularityCE $SINGULARITY_WANTED, or newer, is needed, and this is '$(apptainer_version)'"
  open_fuse
  give_subordinate_ids
  spare_capabilities
  say "apptainer: $(apptainer_version): fine"
}

new_enough() {
  local wanted=$APPTAINER_WANTED
  # The link of that name that comes with Apptainer says that it is Apptainer.
  if [[ $(apptainer --version 2>/dev/null || singularity --version 2>/dev/null) == singularity* ]]; then
    wanted=$SINGULARITY_WANTED
  fi
  at_least "$(apptainer_version)" "$wanted"
}

# Of Apptainer, or of SingularityCE.
apptainer_version() {
  local said
  said=$(apptainer --version 2>/dev/null || singularity --version 2>/dev/null) || return 0
  printf '%s\n' "${said##* }"
}

install_apptainer() {
  say "missing or too old: apptainer"
  if ! command -v apt-get >/dev/null || ! can_be_root; then cannot_install_apptainer; fi
  refresh_apt
  if at_least "$(candidate apptainer)" "$APPTAINER_WANTED"; then
    apt_install apptainer
  elif [[ $(. /etc/os-release && printf '%s' "${ID:-} ${VERSION_CODENAME:-}") == 'debian bookworm' ]]; then
    install_from_sid
  else
    cannot_install_apptainer
  fi
  hash -r
}

cannot_install_apptainer() {
  fail 3 "apptainer: can't install it here: install Apptainer $APPTAINER_WANTED or newer, or SingularityCE 4 or newer, yourself;" \
    "Ubuntu: add-apt-repository ppa:apptainer/ppa; Fedora, and EL with EPEL: dnf install apptainer;" \
    "others: https://apptainer.org/docs/admin/main/installation.html" \
    "without it, images for Docker can still be built: make oci-NAME"
}

install_companions() {
  local missing=() package
  command -v dpkg-query >/dev/null || return 0
  for package in "${APPTAINER_COMPANIONS[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  can_be_root || fail 3 "apptainer: these packages are missing: ${missing[*]}: run ci/setup engines as root"
  refresh_apt
  apt_install "${missing[@]}"
}

# A package made from sid's: its programs load their libraries from a private folder.
install_from_sid() {
  local work=$SCRATCH/apptainer tree=$SCRATCH/apptainer/tree version
  apt_install patchelf binutils xz-utils
  download_from_sid "$work" apptainer "${APPTAINER_LIBRARIES[@]}"
  say 'apptainer: make a package for Debian 12'
  dpkg-deb --raw-extract "$work"/debs/apptainer_*.deb "$tree"
  version=$(dpkg-deb --field "$work"/debs/apptainer_*.deb Version)
  give_libraries "$work" "$tree"
  write_control "$tree" "$version"
  quietly 'apptainer: pack it' dpkg-deb --build --root-owner-group "$tree" "$work/apptainer.deb"
  apt_install --allow-downgrades "$work/apptainer.deb"
}

# download_from_sid FOLDER PACKAGE...: into FOLDER/debs.
download_from_sid() {
  local work=$1
  shift
  mkdir -p "$work/lists/partial" "$work/debs" "$work/none"
  write_sid_source >"$work/sid.sources"
  quietly 'apt: read the package lists of sid' sid_apt "$work" update
  (cd "$work/debs" && quietly "apt: download $* from sid" sid_apt "$work" download "$@")
  chmod 755 "$SCRATCH" # for apt's own user, who reads it
}

# A source that only this script's own calls of apt know: nothing else can ever come from sid.
write_sid_source() {
  local uri keyring
  find_debian
  printf '%s\n' 'Types: deb' "URIs: $uri" 'Suites: sid' 'Components: main' ${keyring:+"Signed-By: $keyring"}
}

# sid_apt FOLDER COMMAND...: apt with sid's lists alone. Mirrors may be late with sid, so its date isn't checked;
# its signature is.
sid_apt() {
  local work=$1
  shift
  apt-get -o Dir::Etc::SourceList="$work/sid.sources" -o Dir::Etc::SourceParts="$work/none" \
    -o Dir::Etc::Preferences="$work/none/none" -o Dir::Etc::PreferencesParts="$work/none" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

give_libraries() {
  local work=$1 tree=$2 package home file library programs
  home=$(cd "$tree" && echo usr/lib/*/apptainer)
  programs=("$tree/usr/bin/apptainer" "$tree/$home/bin/starter")
  home=/$home/private
  mkdir -p "$tree$home" "$work/libraries"
  for package in "$work"/debs/*.deb; do
    [[ $package == */apptainer_* ]] || dpkg-deb --extract "$package" "$work/libraries"
  done
  for library in $(needed_libraries "$work/libraries" "${programs[@]}"); do
    file=$(find "$work/libraries" -name "$library" | head -n 1)
    [[ $file ]] || fail 1 "apptainer: it needs $library, which is in none of ${APPTAINER_LIBRARIES[*]}: please report this"
    install --mode=755 "$(readlink -f "$file")" "$tree$home/$library"
    # The loader has no libraries of its own, and patching would break it.
    [[ $library == ld-* ]] || patchelf --set-rpath "$home" "$tree$home/$library"
  done
  for file in "${programs[@]}"; do
    patchelf --set-rpath "$home" --set-interpreter "$home/$(basename "$(patchelf --print-interpreter "$file")")" "$file"
  done
}

# needed_libraries FOLDER FILE...: names of the loader, of all libraries that the files load, and of those that these load.
needed_libraries() {
  local folder=$1 seen=' ' file library
  shift
  while [[ $# -gt 0 ]]; do
    for library in $(readelf --dynamic --program-headers --wide "$1" |
      sed -n -e 's/.*(NEEDED).*\[\(.*\)\]/\1/p' -e 's/.*interpreter: .*\/\(.*\)\]/\1/p'); do
      [[ $seen != *" $library "* ]] || continue
      seen+="$library "
      file=$(find "$folder" -name "$library" | head -n 1)
      [[ -z $file ]] || set -- "$@" "$(readlink -f "$file")"
    done
    shift
  done
  printf '%s\n' "$seen"
}

write_control() {
  local tree=$1 version=$2 companions
  companions=$(printf '%s, ' "${APPTAINER_COMPANIONS[@]}")
  sed -i -e "s/^Version: .*/Version: $version+imagefactory1/" -e "s/^Depends: .*/Depends: ${companions%, }/" \
    -e '/^\(Built-Using\|Static-Built-Using\|Recommends\): /d' "$tree/DEBIAN/control"
  (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
}

# Without udev the device is root's alone, and then an ordinary user can mount no image.
open_fuse() {
  [[ -c /dev/fuse ]] || fail 3 "apptainer: there is no /dev/fuse: load the kernel's module (modprobe fuse)"
  [[ $(stat -c %a /dev/fuse) != *6 ]] || return 0
  can_be_root || fail 3 "apptainer: you may not use /dev/fuse: chmod 666 /dev/fuse as root"
  say 'apptainer: open /dev/fuse to all users'
  as_root chmod 666 /dev/fuse
}

# To build a definition file takes a range of user ids to give away, for root too where it lacks capabilities.
give_subordinate_ids() {
  local file user
  if ((EUID == 0)) && root_is_whole; then return; fi
  user=$(id -un)
  for file in /etc/subuid /etc/subgid; do
    if grep -qs "^\($user\|$EUID\):" "$file"; then continue; fi
    can_be_root || fail 3 "apptainer: $file has no line for you; as root:" \
      "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
    say "apptainer: give $user a range of ids in $file"
    printf '%s:%s:65536\n' "$user" "$(next_range "$file")" | as_root tee -a "$file" >/dev/null
  done
}

# Apptainer gives root in a container all capabilities, and fails where root here, in a container of its own, lacks
# one (CAP_SYS_RESOURCE is bit 24). To run images then, they must do without; builds take --fakeroot.
spare_capabilities() {
  if ((EUID != 0)) || root_is_whole; then return; fi
  apptainer config global --get 'root default capabilities' 2>/dev/null | grep -qx full || return 0
  say 'apptainer: this root lacks CAP_SYS_RESOURCE: containers get no capabilities (root default capabilities = no)'
  apptainer config global --set 'root default capabilities' no
}

root_is_whole() {
  local have
  have=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  ((0x$have >> 24 & 1))
}

next_range() {
  local file=$1
  [[ -e $file ]] || { echo 100000; return; }
  awk -F: 'BEGIN { end = 100000 } $2 + $3 > end { end = $2 + $3 } END { print end }' "$file"
}
