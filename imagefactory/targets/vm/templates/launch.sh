#!/bin/sh
# Runs a command of the application, as you, with your files: in Docker, or in Apptainer where
# IMAGEFACTORY_ENGINE=apptainer is set. The name under which this file is called is the command.
__engine=${IMAGEFACTORY_ENGINE:-docker}
__command=${0##*/}
for __launcher in /opt/imagefactory/"$__engine"/*/*/bin/"$__command"; do
    if [ -x "$__launcher" ]; then exec "$__launcher" "$@"; fi
done
printf '%s\n' "$__command: IMAGEFACTORY_ENGINE is '$__engine': it may be docker or apptainer" >&2
exit 127
