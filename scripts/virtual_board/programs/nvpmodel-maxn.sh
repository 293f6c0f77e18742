#!/bin/sh
# What nvpmodel answers (first the mode's name, then its number); nothing can be set here.
if [ "$1" != -q ]; then
    echo "this virtual board answers only nvpmodel -q" >&2
    exit 1
fi
echo "NV Power Mode: MAXN"
echo 0
