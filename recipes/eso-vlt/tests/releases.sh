#!/bin/sh
# Says the release of each recipe that is named.
set -eu

for recipe in "$@"; do
    esorex --msg-level=error --man "$recipe" >manual 2>&1 || { cat manual >&2; exit 1; }
    grep "^  $recipe -- version" manual
done
