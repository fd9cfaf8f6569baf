#!/bin/sh
# Packaged pipelines come from apt. Where one of ESO's kits is at /sources/kit, it is compiled into /opt/eso,
# in the build stage. Either way, this makes esorex run cleanly and proves that every recipe loads.
set -eu

prefix=/opt/eso

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# The kit's installer compiles every part one after another, and says little: the newest log is of what failed.
fail_with_logs() {
    find . -name '*.log' -size +0 -exec ls -tr {} + | tail -n 3 | while read -r log; do
        echo "--- the end of $log"
        tail -n 60 "$log"
    done >&2
    fail "$*"
}

build_kit() {
    tar -xzf /sources/kit/*.tar.gz
    set -- */install_pipeline
    [ -f "$1" ] || fail "the kit holds no install_pipeline"
    kit=$(dirname "$1")

    # Where both folders exist and nobody is there to answer, it asks nothing. It leaves a configuration in HOME.
    # One job at a time: the Fortran programs of molecfit_third_party do not compile in parallel.
    mkdir -p "$prefix" calibration home
    (
        unset MAKEFLAGS
        export HOME="$PWD/home"
        calibration=$PWD/calibration
        cd "$kit"
        perl install_pipeline "$prefix" "$calibration" </dev/null
    ) || fail_with_logs "install_pipeline failed"
    [ -x "$prefix/bin/esorex" ] || fail_with_logs "install_pipeline left no $prefix/bin/esorex"

    # Whoever passes an image on passes on the licences of what is in it.
    mkdir -p "$prefix/share/licenses"
    (
        cd "$kit"
        find . -mindepth 2 -maxdepth 4 -type f \( -iname 'copying*' -o -iname 'licen[cs]e*' \) \
            -exec cp --parents --target-directory="$prefix/share/licenses" {} +
    )

    # What compilers, EsoReflex and Python want, which are not in the image.
    (
        cd "$prefix"
        rm -rf include lib/pkgconfig share/aclocal share/doc share/gtk-doc share/info share/man share/reflex
        rm -f bin/*-config bin/*.py
        find . \( -name '*.a' -o -name '*.la' \) -delete
        # Debugging symbols are most of what is left. Scripts are executable too, and strip takes none.
        find . -type f \( -name '*.so*' -o -perm /111 \) -exec strip --strip-unneeded {} + 2>/dev/null || :
    )
    # Owners and modes as archives of the kit hold them are those of somebody's machine at ESO.
    chown -R 0:0 "$prefix"
    chmod -R u+rwX,go+rX,go-w "$prefix"
}

# Recipes are where ESOREX_PLUGIN_DIR says. A variable goes before ~/.esorex/esorex.rc, which in Apptainer is the
# researcher's own and names the folders of another installation.
if [ -d /sources/kit ]; then
    build_kit
else
    mkdir -p /usr/lib/cpl
    set -- /usr/lib/*/cpl/plugins
    [ -d "$1" ] || fail "no pipeline is installed"
    ln -s "$1" "$ESOREX_PLUGIN_DIR"
fi

# Listing a recipe opens its plugin; only showing its manual page also creates its parameters, as a run does.
# A pipeline built for another CPL, or short of a library, fails here and not on the researcher's data.
esorex --msg-level=warning --recipes >list 2>&1 || { cat list >&2; fail "esorex cannot list its recipes"; }
if grep -q 'returned NULL' list; then
    cat list >&2
    fail "esorex cannot load every plugin"
fi
recipes=0
sed -n 's/^  \([A-Za-z0-9_]\{1,\}\) *:.*/\1/p' list >names
while read -r recipe; do
    if ! esorex --msg-level=error --man "$recipe" >manual 2>&1 </dev/null || ! grep -q "^  $recipe -- version" manual; then
        cat manual >&2
        fail "esorex cannot load the recipe $recipe"
    fi
    recipes=$((recipes + 1))
done <names
[ "$recipes" -gt 0 ] || fail "esorex finds no recipe in $ESOREX_PLUGIN_DIR"
echo "esorex loads $recipes recipes"
