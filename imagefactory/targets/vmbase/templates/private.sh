# shellcheck shell=sh
# Runs in the new system, beside the packages of `list`: those of a newer release whose programs need newer
# libraries than the system has. A line names one, and the packages that its libraries come from. These stand
# in a folder of their own, and the system's stay as they are.
#
# Each is made into another package, so that dpkg knows its files, and apt finds nothing wrong with it.
mark=+imagefactory1

fail() {
    echo "imagefactory: $*"
    exit 1
}
patch() {
    ./patcher/usr/bin/patchelf "$@"
}
is_elf() {
    [ "$(head -c 4 "$1" | od -A n -t x1 | tr -d ' ')" = 7f454c46 ]
}

# bring NAME: a library, with all that it needs, where packages named with this one have it.
bring() {
    [ ! -e "$tree$home/$1" ] || return 0
    found=$(find libraries -name "$1" | head -n 1)
    [ "$found" ] || return 0
    install -D --mode=755 "$(readlink -f "$found")" "$tree$home/$1"
    for each in $(patch --print-needed "$tree$home/$1"); do
        bring "$each"
    done
    case $1 in
    ld-*) ;; # it has none itself, and patching would break it
    *) patch --set-rpath "$home" "$tree$home/$1" ;;
    esac
}

# lay PACKAGE PACKAGE...: the first one, with libraries out of the others.
lay() {
    package=$1 tree=trees/$1 home=/usr/lib/$1/private
    shift
    rm -rf libraries
    mkdir libraries
    dpkg-deb --raw-extract "$package.deb" "$tree"
    for each; do
        dpkg-deb --extract "$each.deb" libraries
    done
    open=$(find "$tree" ! -type l \( -perm /6000 -o -perm -0002 \) -printf '/%P ')
    [ -z "$open" ] || fail "$package: anybody may write there, or becomes somebody else: $open"
    find "$tree" -path "$tree/DEBIAN" -prune -o -type f -print | sort >files
    while read -r file; do
        is_elf "$file" || continue
        interpreter=$(patch --print-interpreter "$file" 2>/dev/null) || continue # a library
        loader=${interpreter##*/}
        bring "$loader"
        [ -e "$tree$home/$loader" ] || fail "$package: its programs are loaded by $loader, which is in none of: $*"
        for each in $(patch --print-needed "$file"); do
            bring "$each"
        done
        old=$(patch --print-rpath "$file")
        patch --set-rpath "$home${old:+:$old}" --set-interpreter "$home/$loader" "$file"
        echo "$package $home/$loader ${file#"$tree"}" >>programs
    done <files
    awk -v mark="$mark" -v brought=" $* " '
        /^Version: / { $0 = $0 mark }
        /^(Pre-)?Depends: / {
            count = split(substr($0, length($1) + 2), needs, /, */)
            field = $1
            kept = ""
            for (number = 1; number <= count; number++) {
                name = needs[number]
                sub(/[ :(|].*/, "", name)
                if (!index(brought, " " name " ")) kept = kept (kept == "" ? " " : ", ") needs[number]
            }
            if (kept == "") next
            $0 = field kept
        }
        { print }' "$tree/DEBIAN/control" >control
    cat control >"$tree/DEBIAN/control"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    dpkg-deb --build --root-owner-group -Znone "$tree" "made/$package.deb"
}

mkdir trees made
: >programs
dpkg-deb --extract patchelf.deb patcher
while read -r packages; do
    # shellcheck disable=SC2086  # words
    lay $packages
done <list
dpkg --install made/*.deb </dev/null
while read -r package loader program; do
    lacks=$("$loader" --list "$program" 2>&1 | grep 'not found' || true)
    [ -z "$lacks" ] || fail "$package: $program lacks libraries: $lacks"
done <programs
