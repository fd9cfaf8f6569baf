"""A git repository that is always the same, and a small project in the shape of SPHERLS to put into it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_WHO = "A stand-in"
_WHEN = "1700000000 +0000"


def make_repository(folder: Path, files: Mapping[str, str | bytes]) -> str:
    """Make a bare repository at ``folder`` whose one branch, main, has one commit with ``files``; its name.

    Plain file servers can serve it too. Files that begin with ``#!`` are executable.
    """
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    # As GitHub and others do: a single commit may be asked for by its name.
    _git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    entries = []
    for path, content in sorted(files.items()):
        data = content.encode() if isinstance(content, str) else content
        blob = _git(folder, "hash-object", "-w", "--stdin", data=data)
        mode = "100755" if data.startswith(b"#!") else "100644"
        entries.append(f"{mode} {blob}\t{path}\n")
    _git(folder, "update-index", "--index-info", data="".join(entries).encode())
    commit = _git(folder, "commit-tree", _git(folder, "write-tree"), "-m", "A stand-in that serves tests")
    (folder / "index").unlink()
    _git(folder, "update-ref", "refs/heads/main", commit)
    _git(folder, "update-server-info")
    return commit


def _git(folder: Path, *words: str, data: bytes = b"") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_DIR": str(folder),
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "TZ": "UTC",
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {
            f"GIT_{role}_NAME": _WHO,
            f"GIT_{role}_EMAIL": "stand-in@example.org",
            f"GIT_{role}_DATE": _WHEN,
        }
    done = subprocess.run(
        ["git", *words], cwd=folder, env=environment, input=data, capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode().strip()


def spherls_files() -> dict[str, str | bytes]:
    """A tree on which the recipe ``spherls`` runs as it is, with that recipe's smoke tests after it.

    Its programs need the compiler and the libraries that SPHERLS needs, and have the two faults that
    install.sh mends. They call themselves stand-ins: the one that passes for the calculation runs on all its
    processes, and reads the result out of the starting model.
    """
    blank = "\n" * (_LINE - 1 - _ANALYSER_HEAD.count("\n"))
    return {
        "README": "A stand-in for SPHERLS that serves tests. It calculates nothing.\n",
        "configure.ac": "# What configure would be made from.\n",
        "configure": _CONFIGURE,
        "config.h.in": "#undef FFTW_ENABLE\n",
        "Makefile.am": "# What Makefile.in would be made from.\n",
        "Makefile.in": _MAKEFILE,
        "scripts/average_PKE.py": "#!/usr/bin/env python\nprint 'a script in Python 2'\n",
        "src/exception2.h": _EXCEPTION,
        "src/SPHERLS/main.cpp": _MAIN,
        "src/SPHERLSgen/main.cpp": _GENERATOR,
        "src/SPHERLSanal/main.cpp": _ANALYSER_HEAD + blank + _ANALYSER_TAIL,
        "data/eos/eosY240Z002": bytes(range(256)),
        "data/ref_calcs/2DNA/SPHERLS.xml": _SETTINGS,
        "data/ref_calcs/2DNA/2DNARef_t00137886": "9.77945474500355e+05 6.17588e-04\n",
    }


_LINE = 4585  # the one that install.sh mends

_CONFIGURE = """\
#!/bin/sh
# The configure script of a stand-in.
set -eu

cpp="" cxx=""
for word in "$@"; do
    case $word in
        --prefix=*) prefix=${word#--prefix=} ;;
        --disable-cython) cython=no ;;
        CPPFLAGS=*) cpp=${word#CPPFLAGS=} ;;
        CXXFLAGS=*) cxx=${word#CXXFLAGS=} ;;
    esac
done
fail() {
    echo "configure: error: $*" >&2
    exit 1
}
[ "${cython:-}" = no ] || fail "Cython is wanted, and Python 2 is not there"
command -v mpic++ >/dev/null || fail "mpic++ not found"
for header in petscksp.h fftw3.h; do
    echo "#include <$header>" >conftest.cpp
    # shellcheck disable=SC2086  # words
    mpic++ $cpp -E conftest.cpp >/dev/null || fail "cannot find $header"
done
sed -e 's/#undef FFTW_ENABLE/#define FFTW_ENABLE/' config.h.in >config.h
sed -e "s,@prefix@,$prefix,; s,@CPPFLAGS@,$cpp,; s,@CXXFLAGS@,$cxx," Makefile.in >Makefile
"""

_MAKEFILE = """\
prefix = @prefix@
CPPFLAGS = @CPPFLAGS@ -Isrc -I.
CXXFLAGS = @CXXFLAGS@

all: SPHERLS SPHERLSgen SPHERLSanal

# As automake has it: a generated file that is older than what it is made from is made again.
aclocal.m4: configure.ac
	aclocal
configure: configure.ac aclocal.m4
	autoconf
config.h.in: configure.ac aclocal.m4
	autoheader
Makefile.in: Makefile.am configure.ac aclocal.m4
	automake
Makefile: Makefile.in configure
	./config.status
config.h: config.h.in configure
	./config.status

SPHERLS: src/SPHERLS/main.cpp src/exception2.h config.h
	mpic++ $(CPPFLAGS) $(CXXFLAGS) -o $@ src/SPHERLS/main.cpp -lpetsc
SPHERLSgen: src/SPHERLSgen/main.cpp src/exception2.h config.h
	mpic++ $(CPPFLAGS) $(CXXFLAGS) -o $@ src/SPHERLSgen/main.cpp
SPHERLSanal: src/SPHERLSanal/main.cpp src/exception2.h config.h
	mpic++ $(CPPFLAGS) $(CXXFLAGS) -o $@ src/SPHERLSanal/main.cpp -lfftw3

install: all
	mkdir -p $(prefix)/bin $(prefix)/data
	cp SPHERLS SPHERLSgen SPHERLSanal scripts/*.py $(prefix)/bin/
	cp -R data/. $(prefix)/data/
"""

_EXCEPTION = """\
#include <string>

class exception2 {
    std::string text;
public:
    explicit exception2(std::string message) throw() : text(message) {}
    std::string getMsg() const throw(std::string) { return text; }
};
"""

_MAIN = """\
// Stands in for the calculation: it runs on every process that it is given, and calculates nothing.
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <mpi.h>
#include <petscksp.h>
#include "config.h"
#include "exception2.h"

static std::string value(const std::string &settings, const std::string &name)
{
    std::size_t begin = settings.find("<" + name + ">"), end = settings.find("</" + name + ">");
    if (begin == std::string::npos || end == std::string::npos)
        throw exception2("SPHERLS.xml has no " + name);
    begin += name.size() + 2;
    return settings.substr(begin, end - begin);
}

int main(int argc, char **argv)
{
    MPI::Init(argc, argv); // the C++ bindings, which SPHERLS calls too
    int status = 0;
    try {
        PetscInitialize(&argc, &argv, NULL, NULL);
        std::ifstream file("SPHERLS.xml");
        std::ostringstream settings;
        settings << file.rdbuf();
        int rank = MPI::COMM_WORLD.Get_rank(), size = MPI::COMM_WORLD.Get_size(), sum = 0;
        int wanted = std::stoi(value(settings.str(), "x0")) * std::stoi(value(settings.str(), "x1"));
        MPI::COMM_WORLD.Allreduce(&rank, &sum, 1, MPI::INT, MPI::SUM);
        if (size != wanted || sum != size * (size - 1) / 2)
            throw exception2("the number of processes is not that of SPHERLS.xml");
        std::ifstream table(value(settings.str(), "eosFile").c_str());
        std::ifstream model(value(settings.str(), "startModel").c_str());
        double time, change;
        if (!table || !(model >> time >> change))
            throw exception2("cannot read the table or the starting model");
        if (rank == 0) {
            std::cout << "A stand-in: what follows is read from the starting model, calculated by nobody.\\n"
                      << "src/SPHERLS/main.cpp:main:95:0:\\n  Dumping model to file: "
                      << value(settings.str(), "outputName") << "_t00137887\\n"
                      << std::scientific << std::setprecision(14)
                      << "  For current time step 137896 at time t=" << time
                      << " [s] with time step dt=1.0e+00 [s]\\n"
                      << std::setprecision(5) << "    * max( (Del T)_t/T )       =" << change << "\\n";
        }
        PetscFinalize();
    } catch (const exception2 &problem) {
        std::cerr << problem.getMsg() << "\\n";
        status = 1;
    }
    MPI::Finalize();
    return status;
}
"""

_GENERATOR = """\
#include <cmath>
#include <iostream>
#include <limits>
#include "config.h"
#include "exception2.h"

int main()
{
    double number = std::numeric_limits<double>::quiet_NaN();
    if (isnan(number) && !isnan (1.0))
        std::cout << "SPHERLSgen: a stand-in\\n";
    return 0;
}
"""

_ANALYSER_HEAD = """\
#include <iostream>
#include <sstream>
#include <fftw3.h>
#include "config.h"
#include "exception2.h"

int main()
{
    std::ostringstream ssName;
    ssName << "SPHERLSanal: a stand-in, with " << fftw_version << "\\n";
"""

_ANALYSER_TAIL = """\
    std::cout<<ssName;
    fftw_cleanup();
    return 0;
}
"""

_SETTINGS = """\
<data>
  <job>
    <que>false</que>
  </job>
  <procDims>
    <x0>4</x0>
    <x1>1</x1>
    <x2>1</x2>
  </procDims>
  <startModel>2DNARef_t00137886</startModel>
  <outputName>2DNARef</outputName>
  <eos>
    <eosFile>../../eos/eosY240Z002</eosFile>
  </eos>
</data>
"""
