"""A small kit in the shape of ESO's pipeline kits: real C projects, and an installer that behaves as ESO's.

What is built of it calls itself a stand-in, and reduces nothing.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ESOREX = "3.13.11"
CPL = "7.4"
CFITSIO = "4.6.2"
MOLECFIT = "1.9.5"
TELLURIC = ("kmos", "fors", "xshoo")
"""The instruments whose kits hold Fortran programs too. KMOS alone does without libcurl."""

_MTIME = 1_700_000_000
_STAND_IN = "This is a stand-in that serves tests. It reduces nothing.\n"


def make_kit(
    folder: Path, kit: str, instrument: str, recipes: Sequence[str], version: str, *, broken: bool = False
) -> Path:
    """Write ``<folder>/<kit>.tar.gz``, whose bytes depend on the arguments alone.

    ``kit`` is a name such as ``kmos-kit-4.5.3-6``, ``instrument`` the pipeline's name in it, such as
    ``kmos``. With ``broken``, the pipeline itself does not compile.
    """
    parts = {
        f"cfitsio-{CFITSIO}.tar.gz": _project(f"cfitsio-{CFITSIO}", _cfitsio()),
        f"cpl-{CPL}.tar.gz": _project(f"cpl-{CPL}", _cpl()),
        f"esorex-{ESOREX}.tar.gz": _project(f"esorex-{ESOREX}", _esorex()),
        f"{instrument}-{version}.tar.gz": _project(
            f"{instrument}-{version}", _pipeline(instrument, recipes, version, broken=broken)
        ),
        f"{instrument}-calib-{version}.tar.gz": _project(
            f"{instrument}-calib-{version}", {"cal/README": _STAND_IN, "cal/table.fits": "no real table\n"}
        ),
    }
    if instrument in TELLURIC:  # as ESO does: an archive that is not compressed
        name = f"molecfit_third_party-{MOLECFIT}"
        parts[f"{name}.tar"] = _tar({f"{name}/{path}": text for path, text in _molecfit().items()})
    files: dict[str, str | bytes] = {
        "README": f"{kit}\n{_STAND_IN}",
        "install_pipeline": _fill(_INSTALLER, INSTRUMENT=instrument, VERSION=version),
        **parts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{kit}.tar.gz"
    target.write_bytes(_project(kit, files))
    return target


def _project(top: str, files: Mapping[str, str | bytes]) -> bytes:
    return gzip.compress(_tar({f"{top}/{path}": content for path, content in files.items()}), mtime=0)


def _tar(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in sorted(files.items()):
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(data), _MTIME
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            entry.uid = entry.gid = 4711  # somebody's, as in ESO's own
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _cfitsio() -> dict[str, str]:
    return {
        "configure": _configure("zlib.h"),
        "Makefile.in": _library("fitsio", "-lz"),
        "License.txt": f"The licence of a stand-in.\n{_STAND_IN}",
        "fitsio.h": "const char *fits_version(void);\n",
        "fitsio.c": _fill(
            """\
#include <zlib.h>
#include "fitsio.h"

const char *fits_version(void)
{
    return zlibVersion() ? "@VERSION@" : "";
}
""",
            VERSION=CFITSIO,
        ),
    }


def _cpl() -> dict[str, str]:
    return {
        "configure": _configure("fitsio.h", depends="fitsio"),
        "Makefile.in": _library("cpl", "-lfitsio"),
        "COPYING": f"The licence of a stand-in.\n{_STAND_IN}",
        "cpl.h": """\
struct cpl_recipe {
    const char *name, *synopsis, *version;
    int (*create)(void); /* how many parameters it has */
};

/* What every plugin offers. */
const struct cpl_recipe *cpl_plugin_get_info(void);

const char *cpl_version(void);
""",
        "cpl.c": _fill(
            """\
#include <fitsio.h>
#include "cpl.h"

const char *cpl_version(void)
{
    return *fits_version() ? "@VERSION@" : "";
}
""",
            VERSION=CPL,
        ),
    }


def _esorex() -> dict[str, str]:
    return {
        "configure": _configure("cpl.h", depends="cpl"),
        "COPYING": f"The licence of a stand-in.\n{_STAND_IN}",
        "esorex.rc.in": (
            "# The stand-in's configuration.\nesorex.caller.recipe-dir=@prefix@/lib/esopipes-plugins\n"
        ),
        "esorex.c": _fill(_ESOREX_C, VERSION=ESOREX),
        "Makefile.in": """\
all: esorex

esorex: esorex.c
	$(CC) $(CFLAGS) -g -DRC='"@prefix@/etc/esorex.rc"' $(CPPFLAGS) -o $@ esorex.c $(LDFLAGS) -lcpl -ldl

install: all
	mkdir -p @prefix@/bin @prefix@/etc @prefix@/share/man/man1 @prefix@/share/doc/esorex
	cp esorex @prefix@/bin/
	cp esorex.rc @prefix@/etc/
	echo 'A stand-in.' >@prefix@/share/man/man1/esorex.1
	echo 'A stand-in.' >@prefix@/share/doc/esorex/README
""",
    }


def _molecfit() -> dict[str, str]:
    return {
        "lnfl/LICENSE": f"The licence of a stand-in.\n{_STAND_IN}",
        "lnfl/lnfl.f90": "program lnfl\n  print '(a)', 'lnfl: a stand-in'\nend program lnfl\n",
        "BuildThirdParty.mk": """\
all: lnfl/lnfl

lnfl/lnfl: lnfl/lnfl.f90
	gfortran -g -o $@ lnfl/lnfl.f90

install: all
	mkdir -p $(prefix)/bin
	cp lnfl/lnfl $(prefix)/bin/
""",
    }


def _pipeline(instrument: str, recipes: Sequence[str], version: str, *, broken: bool) -> dict[str, str]:
    curl = instrument != "kmos"
    files = {
        "configure": _configure("cpl.h", *["curl/curl.h"] * curl, depends="cpl"),
        "COPYING": f"The licence of a stand-in.\n{_STAND_IN}",
        "common.c": "this does not compile\n" if broken else _COMMON_CURL if curl else _COMMON,
        "workflow.xml": "<stand-in/>\n",
        "tool.py": "#!/usr/bin/env python3\nprint('a stand-in')\n",
        "Makefile.in": _fill(
            """\
PLUGINS = @PLUGINS@
plugindir = @prefix@/lib/esopipes-plugins/@NAME@

all: lib@INSTRUMENT@.so $(PLUGINS)

lib@INSTRUMENT@.so: common.c
	$(CC) $(CFLAGS) -g -fopenmp -fPIC $(CPPFLAGS) -shared -Wl,-soname,$@.0 -o $@ common.c $(LDFLAGS) @CURL@
	ln -sf $@ $@.0

%.so: %.c lib@INSTRUMENT@.so
	$(CC) $(CFLAGS) -g -fPIC $(CPPFLAGS) -shared -o $@ $< $(LDFLAGS) -L. -l@INSTRUMENT@ -lcpl

install: all
	mkdir -p $(plugindir) @prefix@/share/reflex/workflows/@NAME@ @prefix@/share/esopipes/@NAME@ @prefix@/bin
	cp -P lib@INSTRUMENT@.so lib@INSTRUMENT@.so.0 @prefix@/lib/
	cp $(PLUGINS) $(plugindir)/
	for plugin in $(PLUGINS); do echo "# a stand-in" >$(plugindir)/$${plugin%.so}.la; done
	cp workflow.xml @prefix@/share/reflex/workflows/@NAME@/
	cp workflow.xml @prefix@/share/esopipes/@NAME@/
	cp tool.py @prefix@/bin/@INSTRUMENT@_tool.py
""",
            PLUGINS=" ".join(f"{recipe}.so" for recipe in recipes),
            NAME=f"{instrument}-{version}",
            INSTRUMENT=instrument,
            CURL="-lcurl" if curl else "",
        ),
    }
    for recipe in recipes:
        files[f"{recipe}.c"] = _fill(_PLUGIN_C, RECIPE=recipe, VERSION=version)
    return files


def _configure(*headers: str, depends: str = "") -> str:
    checks = "".join(f"check {header} {depends if header == f'{depends}.h' else ''}\n" for header in headers)
    return _CONFIGURE.replace("@CHECKS@", checks)


def _library(name: str, libraries: str) -> str:
    return _fill(
        """\
all: lib@NAME@.so lib@NAME@.a

@NAME@.o: @NAME@.c
	$(CC) $(CFLAGS) -g -fPIC $(CPPFLAGS) -c -o $@ @NAME@.c

lib@NAME@.so: @NAME@.o
	$(CC) -shared -Wl,-soname,$@.1 -o $@ @NAME@.o $(LDFLAGS) @LIBRARIES@

lib@NAME@.a: @NAME@.o
	ar rcs $@ @NAME@.o

install: all
	mkdir -p @prefix@/include @prefix@/lib/pkgconfig
	cp @NAME@.h @prefix@/include/
	cp lib@NAME@.so @prefix@/lib/lib@NAME@.so.1
	ln -sf lib@NAME@.so.1 @prefix@/lib/lib@NAME@.so
	cp lib@NAME@.a @prefix@/lib/
	echo 'Name: @NAME@' >@prefix@/lib/pkgconfig/@NAME@.pc
""",
        NAME=name,
        LIBRARIES=libraries,
    )


_CONFIGURE = """\
#!/bin/sh
# Finds headers and libraries, runs a small program as real ones do, and writes the Makefile.
set -eu

prefix=/usr/local
for word in "$@"; do
    case $word in --prefix=*) prefix=${word#--prefix=} ;; esac
done
exec 5>config.log
echo "A stand-in's configure: $0 $*" >&5

check() {
    printf 'checking for %s... ' "$1"
    printf '#include <stdio.h>\\n#include <%s>\\nint main(void) { return 0; }\\n' "$1" >conftest.c
    if gcc -I"$prefix/include" -o conftest conftest.c -L"$prefix/lib" ${2:+"-l$2"} >&5 2>&1 &&
        ./conftest >&5 2>&1; then
        echo yes
    else
        echo no
        case $1 in curl/*) echo 'configure: error: No LIBCURL available' ;; esac
        echo "configure: error: cannot use $1" | tee /dev/fd/5 >&2
        exit 1
    fi
}

@CHECKS@
for file in *.in; do
    sed "s,@prefix@,$prefix,g" "$file" >"${file%.in}"
done
{
    echo "CC = gcc"
    echo "CFLAGS = -O2"
    echo "CPPFLAGS = -I$prefix/include"
    echo "LDFLAGS = -L$prefix/lib"
    cat Makefile
} >Makefile.new
mv Makefile.new Makefile
"""

_PLUGIN_C = """\
#include <cpl.h>

int threads(void);

static const struct cpl_recipe recipe = {"@RECIPE@", "Stand-in that reduces nothing", "@VERSION@", threads};

const struct cpl_recipe *cpl_plugin_get_info(void)
{
    return &recipe;
}
"""

_COMMON = """\
#include <omp.h>

int threads(void)
{
    return omp_get_max_threads();
}
"""

_COMMON_CURL = """\
#include <curl/curl.h>
#include <omp.h>

int threads(void)
{
    return curl_version() ? omp_get_max_threads() : 0;
}
"""

# Where it looks for plugins, and what it prints of them, is as EsoRex does it: an option goes before a
# variable, and that before ~/.esorex/esorex.rc, which goes before its own esorex.rc.
_ESOREX_C = r"""
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cpl.h>

static const struct cpl_recipe *recipes[1000];
static int count, quiet;

static void load(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin) {
        if (!quiet)
            printf("[WARNING] esorex: lt_dlopen (%s) returned NULL,\nlt_dlerror() = %s\n\n", path, dlerror());
        return;
    }
    const struct cpl_recipe *(*get_info)(void) = dlsym(plugin, "cpl_plugin_get_info");
    if (get_info && count < 1000)
        recipes[count++] = get_info();
}

static void search(const char *folder)
{
    struct dirent **entries;
    struct stat what;
    int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0 && !quiet)
        printf("[WARNING] esorex: Unable to open directory %s\n", folder);
    for (int i = 0; i < n; i++) {
        char path[4096];
        const char *name = entries[i]->d_name;
        size_t length = strlen(name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (name[0] == '.' || stat(path, &what))
            continue;
        if (S_ISDIR(what.st_mode))
            search(path);
        else if (length > 3 && !strcmp(name + length - 3, ".so"))
            load(path);
    }
}

static int configured(const char *file, char *folder, size_t size)
{
    const char *key = "esorex.caller.recipe-dir=";
    char line[4096];
    FILE *rc = fopen(file, "r");
    if (!rc)
        return 0;
    while (fgets(line, sizeof line, rc)) {
        if (!strncmp(line, key, strlen(key)))
            snprintf(folder, size, "%s", line + strlen(key));
    }
    fclose(rc);
    folder[strcspn(folder, "\n")] = 0;
    return 1;
}

int main(int argc, char **argv)
{
    char own[4096], list[4096] = "";
    const char *man = NULL, *option = NULL, *word = NULL;
    int listing = 0, version = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version"))
            version = 1;
        else if (!strcmp(argv[i], "--recipes"))
            listing = 1;
        else if (!strncmp(argv[i], "--man", 5) && i + 1 < argc)
            man = argv[++i];
        else if (!strncmp(argv[i], "--recipe-dir=", 13))
            option = argv[i] + 13;
        else if (!strcmp(argv[i], "--msg-level=error"))
            quiet = 1;
        else if (argv[i][0] != '-' && !word)
            word = argv[i];
    }
    printf("\n     ***** ESO Recipe Execution Tool, version @VERSION@  *****\n\n");
    if (version) {
        printf("Libraries used: CPL = %s\n\n", cpl_version());
        printf("This is a stand-in that serves tests. It reduces nothing.\n");
        return 0;
    }
    snprintf(own, sizeof own, "%s/.esorex/esorex.rc", getenv("HOME") ? getenv("HOME") : "");
    if (!configured(own, list, sizeof list))
        configured(RC, list, sizeof list);
    if (getenv("ESOREX_PLUGIN_DIR"))
        snprintf(list, sizeof list, "%s", getenv("ESOREX_PLUGIN_DIR"));
    if (option)
        snprintf(list, sizeof list, "%s", option);
    for (char *folder = strtok(list, ":"); folder; folder = strtok(NULL, ":"))
        search(folder);
    if (listing) {
        printf("List of Available Recipes :\n\n");
        for (int i = 0; i < count; i++)
            printf("  %-22s: %s\n", recipes[i]->name, recipes[i]->synopsis);
        if (!count)
            printf("  No recipes were found in the specified recipe directory.\n");
        printf("\n");
        return 0;
    }
    for (int i = 0; man && i < count; i++) {
        if (strcmp(recipes[i]->name, man))
            continue;
        printf("NAME\n  %s -- %s\n\n", man, recipes[i]->synopsis);
        printf("DESCRIPTION\n  This is a stand-in that serves tests. It reduces nothing.\n");
        printf("  It would have %d parameters.\n\n", recipes[i]->create());
        printf("RELEASE\n  %s -- version %s\n\n", man, recipes[i]->version);
        return 0;
    }
    if (man) {
        printf("[ ERROR ] esorex: Unable to find recipe '%s'.\n", man);
        return 13;
    }
    printf("[ ERROR ] esorex: this stand-in cannot run %s: it reduces nothing\n", word ? word : "anything");
    return 1;
}
"""

# What ESO's installer does: it takes two folders or asks for them, wants a terminal for every yes or no,
# refuses to run twice in one place, builds part after part into one prefix with one log, and leaves a
# configuration in HOME.
_INSTALLER = r"""#!/usr/bin/perl
# Stand-in for the installer of one of ESO's pipeline kits. It serves tests.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Basename qw(basename);
use File::Copy qw(copy);
use File::Path qw(make_path);

my $here = getcwd();
my $log = "$here/install_pipeline.log";
my $instrument = '@INSTRUMENT@';
my $version = '@VERSION@';
my $makeopts = '';

$| = 1;
print "Installer of the $instrument pipeline $version: a stand-in that serves tests\n\n";

my @folders;
for my $word (@ARGV) {
    if ($word =~ /^-makeopts=(.*)$/) { $makeopts = $1; }
    elsif ($word =~ /^-/) { print "Unknown option $word is passed over\n"; }
    else { push @folders, $word; }
}
die "Oops, you are trying to rerun the installation: unpack the kit again\n" if -e $log;

my $prefix = folder($folders[0], 'the pipeline');
my $calib = folder($folders[1], 'the calibration data');

$ENV{PATH} = "$prefix/bin:$ENV{PATH}";
$ENV{PKG_CONFIG_PATH} = "$prefix/lib/pkgconfig";
$ENV{LD_LIBRARY_PATH} = join ':', "$prefix/lib", grep { length } $ENV{LD_LIBRARY_PATH} // '';

for my $part (qw(cfitsio cpl esorex molecfit_third_party), $instrument) {
    my ($archive) = grep { !/-calib-/ } glob "$part-[0-9]*.tar*";
    build($archive) if $archive;
}

my ($data) = glob "$instrument-calib-*.tar.gz";
if ($data) {
    run("cd $here && tar xzf $data", $data);
    (my $top = $data) =~ s/\.tar\.gz$//;
    make_path("$calib/$instrument-$version");
    run("cp -R $here/$top/cal/. $calib/$instrument-$version/", $data);
}

my $own = "$ENV{HOME}/.esorex";
make_path($own);
rename "$own/esorex.rc", "$own/esorex.rc.bak" if -e "$own/esorex.rc";
copy("$prefix/etc/esorex.rc", "$own/esorex.rc") or die "cannot write $own/esorex.rc: $!\n";

print "\nDone. Put $prefix/bin into your PATH.\n";

sub folder {
    my ($given, $what) = @_;
    if (!defined $given) {
        print "Where shall $what be installed? ";
        $given = <STDIN>;
        die "\nno folder was given for $what\n" unless defined $given;
        chomp $given;
    }
    if (!-d $given) {
        confirm("$given does not exist. Shall it be made") or die "not without $given\n";
        make_path($given);
    }
    return $given;
}

sub confirm {
    my ($question) = @_;
    -t STDIN or die "cannot ask '$question': the standard input is no terminal\n";
    print "$question [Y/n]? ";
    my $answer = <STDIN> // 'n';
    return $answer !~ /^n/i;
}

sub build {
    my ($archive) = @_;
    (my $part = $archive) =~ s/\.tar(\.\w+)?$//;
    print "Building $part ...\n";
    run("cd $here && tar xf $archive", $part);
    my $make = "make $makeopts";
    my $commands = -e "$here/$part/configure"
        ? "./configure --prefix=$prefix && $make && $make install"
        : "$make -f BuildThirdParty.mk prefix=$prefix && $make -f BuildThirdParty.mk prefix=$prefix install";
    run("cd $here/$part && $commands", $part);
}

sub run {
    my ($commands, $part) = @_;
    return if system("( $commands ) >>$log 2>&1") == 0;
    print "Building $part failed. See $log\n";
    die "aborted\n" if confirm('Should I abort');
}
"""
