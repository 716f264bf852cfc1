/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs need of the BPF dialect of C: section and map notation, helpers by number. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* A function that the verifier checks once, whoever calls it; its pointers may be NULL for all it knows. */
#define GLOBAL __attribute__((noinline))

/* BTF notation of a map definition: numbers as array bounds, types as pointers. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) value *name

#define LICENSE(text) char _license[] SEC("license") = text

#define bpf_htons(value) ((__be16)__builtin_bswap16(value))
#define bpf_htonl(value) ((__be32)__builtin_bswap32(value))

/* Keeps the compiler from merging or moving accesses that the verifier must see as written. */
#define barrier_var(variable) asm volatile("" : "+r"(variable))

static void *(*const bpf_map_lookup_elem)(const void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(const void *map, const void *key, const void *value, __u64 flags) = (void *)
	BPF_FUNC_map_update_elem;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static void *(*const bpf_sk_storage_get)(const void *map, void *sk, void *value, __u64 flags) = (void *)
	BPF_FUNC_sk_storage_get;
static long (*const bpf_sk_storage_delete)(const void *map, void *sk) = (void *)BPF_FUNC_sk_storage_delete;
static __u64 (*const bpf_get_socket_cookie)(void *socket) = (void *)BPF_FUNC_get_socket_cookie;
static __u64 (*const bpf_get_netns_cookie)(void *ctx) = (void *)BPF_FUNC_get_netns_cookie;
static long (*const bpf_set_retval)(int retval) = (void *)BPF_FUNC_set_retval;
static long (*const bpf_seq_write)(void *seq, const void *data, __u32 length) = (void *)BPF_FUNC_seq_write;
