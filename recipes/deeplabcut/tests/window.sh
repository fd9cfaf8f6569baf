#!/bin/sh
# Starts the GUI as a user does, on a screen of its own, and waits for its window. Run by xvfb-run.
set -eu

dlc >dlc.log 2>&1 &
gui=$!
trap 'kill "$gui" 2>/dev/null || :' EXIT

seconds=0
until xwininfo -name DeepLabCut >window.txt 2>/dev/null && grep -q 'Map State: IsViewable' window.txt; do
    if ! kill -0 "$gui" 2>/dev/null || [ "$seconds" -ge 120 ]; then
        tail -n 20 dlc.log >&2
        echo "the window did not come" >&2
        exit 1
    fi
    sleep 1
    seconds=$((seconds + 1))
done
sed -n 's/^ *\(Width\|Height\|Map State\):/\1:/p' window.txt

# It would ask the package index after two seconds; and whatever fails then fails now.
sleep 5
kill -0 "$gui" || { tail -n 20 dlc.log >&2; exit 1; }
echo "the GUI still runs"
