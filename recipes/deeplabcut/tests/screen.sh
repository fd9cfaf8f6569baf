#!/bin/sh
# Runs a command on a screen of its own.
# The X server tells its parent that it is ready, but not if that is process 1, which this shell is in a container.
xvfb-run --auto-servernum --server-args='-screen 0 1280x1024x24' "$@"
exit $?
