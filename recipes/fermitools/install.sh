#!/bin/sh
# The Fermitools come from conda. This does what activating their environment would do once, proves that
# the folders named in recipe.yaml are where this release keeps its data, and adds the command notebook.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

for file in "$FERMI_DIR/syspfiles/gtselect.par" "$CALDBCONFIG" "$CALDBALIAS"; do
    [ -s "$file" ] || fail "there is no $file: does this release keep its data elsewhere?"
done

# gtburst starts these scripts as programs; the package gives nobody the right to.
for script in /opt/conda/lib/python3.*/site-packages/fermitools/GtBurst/gtapps_mp/*.py; do
    [ -e "$script" ] || fail "gtburst's scripts are not where they were: does gtburst still need this?"
    chmod a+x "$script"
done

install -m 755 /recipe/files/notebook /usr/local/bin/notebook
