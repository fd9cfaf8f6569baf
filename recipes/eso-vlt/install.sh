#!/bin/sh
# The pipelines come from apt. This makes esorex run cleanly and proves that every recipe loads.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# Debian's esorex searches this folder too, and complains at every start where it is missing.
mkdir -p /usr/lib/cpl/plugins

# Listing a recipe opens its plugin; only showing its manual page also creates its parameters, as a run does.
# A pipeline built for another CPL, or short of a library, fails here and not on the researcher's data.
recipes=0
for plugin in /usr/lib/*/cpl/plugins/*/*.so; do
    [ -e "$plugin" ] || fail "no pipeline is installed"
    recipe=$(basename "$plugin" .so)
    if ! esorex --msg-level=error --man "$recipe" >manual 2>&1 || ! grep -q "^  $recipe -- version" manual; then
        cat manual >&2
        fail "esorex cannot load the recipe $recipe from $plugin"
    fi
    recipes=$((recipes + 1))
done
echo "esorex loads $recipes recipes"
