"""Variables of a caller's environment that speak of the software outside."""

from __future__ import annotations

FOREIGN = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "CONDA_PREFIX", "PERL5LIB", "PERL5OPT"),
    *("R_HOME", "R_LIBS", "R_LIBS_USER", "JULIA_DEPOT_PATH", "JULIA_LOAD_PATH", "TCLLIBPATH", "OPAL_PREFIX"),
    *("QT_PLUGIN_PATH", "QT_QPA_PLATFORM_PLUGIN_PATH", "GIO_MODULE_DIR", "GTK_PATH", "GTK_MODULES"),
    *("BASH_ENV", "TMPDIR", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MESSAGES"),
    *(
        "LC_MONETARY",
        "LC_PAPER",
        "LC_NAME",
        "LC_ADDRESS",
        "LC_TELEPHONE",
        "LC_MEASUREMENT",
        "LC_IDENTIFICATION",
    ),
)
"""Variables that speak of the software outside, and must not reach the inside."""
