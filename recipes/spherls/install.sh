#!/bin/sh
# Compiles SPHERLS into /opt/spherls, in the build stage.
set -eu

prefix=/opt/spherls

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

cp -R /sources/spherls/. .

# Fix 1: <cmath> of today declares isnan in namespace std only.
generator=src/SPHERLSgen/main.cpp
bare_isnan='(^|[^:_[:alnum:]])isnan *\('
grep -Eq "$bare_isnan" "$generator" || fail "$generator calls no bare isnan: is this another version?"
sed -i -E "s/$bare_isnan/\1std::isnan(/g" "$generator"
! grep -Eq "$bare_isnan" "$generator" || fail "$generator still calls a bare isnan"

# Fix 2: one line prints a string stream itself and not its text, which C++11 forbids.
analyser=src/SPHERLSanal/main.cpp
line=4585
cp "$analyser" before
sed -n 's/.*std::o\{0,1\}stringstream  *\([A-Za-z_][A-Za-z0-9_]*\).*/\1/p' before | sort -u | while read -r stream; do
    sed -i "${line}s/<<\( *\)$stream\([^.A-Za-z0-9_]\|\$\)/<<\1$stream.str()\2/" "$analyser"
done
[ "$(diff before "$analyser" | grep -c '^> .*\.str()')" -eq 1 ] || fail "$analyser:$line prints no string stream"
rm before

# The generated files are upstream's; in this order make takes them for up to date and needs no autotools.
touch aclocal.m4
touch configure config.h.in Makefile.in

# C++17 rejects upstream's throw(...) specifications. Cython would need Python 2.
./configure --prefix="$prefix" --disable-cython \
    CPPFLAGS=-I/usr/lib/petscdir/petsc-real/include CXXFLAGS="-O2 -std=gnu++14"
make -j"$(nproc)"
make install

# The helper scripts are Python 2, which Debian 12 no longer has.
rm -f "$prefix"/bin/*.py

for file in bin/SPHERLS bin/SPHERLSgen bin/SPHERLSanal data/eos/eosY240Z002 data/ref_calcs/2DNA/SPHERLS.xml; do
    [ -s "$prefix/$file" ] || fail "make install left no $prefix/$file"
done
