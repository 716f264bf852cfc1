#!/bin/sh
# Compiles the test programs of this directory. Only needed after changing them: the objects are
# committed. Debug sections are dropped (BTF stays), so that no path of this machine gets in.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- *.bpf.c
for source in "$@"; do
	clang-16 -g -O2 -target bpf -mcpu=v3 -fdebug-compilation-dir=. \
		-I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "${source%.c}.o"
	llvm-strip-16 -g "${source%.c}.o"
done
