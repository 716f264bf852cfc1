/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The helpers that the test objects call, by their numbers in linux/bpf.h. */
#pragma once

#include "dialect.h"

#define HELPER(number, result, name, ...) \
	static result (*const name)(__VA_ARGS__) __attribute__((unused)) = (void *)number

struct seq_file;

HELPER(1, void *, bpf_map_lookup_elem, void *map, const void *key);
HELPER(2, long, bpf_map_update_elem, void *map, const void *key, const void *value, u64 flags);
HELPER(65, long, bpf_xdp_adjust_tail, void *ctx, int delta);
HELPER(107, void *, bpf_sk_storage_get, void *map, void *sk, void *value, u64 flags);
HELPER(127, long, bpf_seq_write, struct seq_file *seq, const void *data, u32 size);
HELPER(131, void *, bpf_ringbuf_reserve, void *ring, u64 size, u64 flags);
HELPER(132, void, bpf_ringbuf_submit, void *data, u64 flags);
HELPER(133, void, bpf_ringbuf_discard, void *data, u64 flags);
