#!/bin/sh
# Every program finds every library it was linked with: the run-time packages are the right ones.
set -eu

for program in SPHERLS SPHERLSgen SPHERLSanal; do
    libraries=$(ldd "$(command -v "$program")")
    case $libraries in
        *"not found"*) echo "$program: $libraries" >&2; exit 1 ;;
    esac
    echo "$program is complete"
done
