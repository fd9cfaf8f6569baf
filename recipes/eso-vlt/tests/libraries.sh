#!/bin/sh
# Every program, library and plugin below a folder finds every library it was linked with.
set -eu

folder=$1
find "$folder" -type f \( -name '*.so*' -o -perm /111 \) >files
checked=0
while read -r file; do
    [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
    libraries=$(ldd "$file" 2>&1) || :
    case $libraries in
        *"not found"*) echo "$file: $libraries" >&2; exit 1 ;;
    esac
    checked=$((checked + 1))
done <files
[ "$checked" -gt 0 ] || { echo "there is no program in $folder" >&2; exit 1; }
echo "$checked files are complete"
