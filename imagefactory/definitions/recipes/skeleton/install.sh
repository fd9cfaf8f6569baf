#!/bin/sh
# Installs @NAME@. Runs as root, in an empty temporary folder, with the recipe's folder at /recipe
# (read-only) and its sources at /sources. Delete what is not needed at run time.
set -eu
command -v hello >/dev/null
