#!/bin/sh
# Run the application on small data made here, and show what the recipe's test looks for.
set -eu
hello --greeting="$GREETING" >greeting.txt
cat greeting.txt
