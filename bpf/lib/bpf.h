/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This header declares sections, maps, kinds of functions, and the kernel's helpers by number. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/*
 * A global function: the verifier checks it once, independently of its callers. So it must check
 * its pointers for NULL, and it forgets which bytes behind a pointer hold other pointers.
 */
#define GLOBAL __attribute__((noinline))
/* A static function that is not inlined. The verifier checks it again for each call. */
#define NOINLINE static __attribute__((noinline))

/* A map definition in BTF: numbers are array bounds, types are pointers. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) value *name

#define LICENSE(text) char _license[] SEC("license") = text

/*
 * CO-RE: the offset of a bit field's first byte, and the shifts that extract the field from 64
 * bits.
 */
#define FIELD_BYTE(field) __builtin_preserve_field_info(field, 0)
#define FIELD_LSHIFT(field) __builtin_preserve_field_info(field, 4)
#define FIELD_RSHIFT(field) __builtin_preserve_field_info(field, 5)

#define bpf_htons(value) ((__be16)__builtin_bswap16(value))
#define bpf_htonl(value) ((__be32)__builtin_bswap32(value))

/*
 * Prevents the compiler from merging or moving accesses, where the verifier accepts them only as
 * they are written.
 */
#define barrier_var(variable) asm volatile("" : "+r"(variable))

static void *(*const bpf_map_lookup_elem)(const void *map,
					  const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(const void *map, const void *key, const void *value,
					 __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static long (*const bpf_probe_read_kernel)(void *to, __u32 size,
					   const void *from) = (void *)BPF_FUNC_probe_read_kernel;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static void *(*const bpf_sk_storage_get)(const void *map, void *sk, void *value,
					 __u64 flags) = (void *)BPF_FUNC_sk_storage_get;
static long (*const bpf_sk_storage_delete)(const void *map,
					   void *sk) = (void *)BPF_FUNC_sk_storage_delete;
static __u64 (*const bpf_get_socket_cookie)(void *socket) = (void *)BPF_FUNC_get_socket_cookie;
static __u64 (*const bpf_get_netns_cookie)(void *ctx) = (void *)BPF_FUNC_get_netns_cookie;
static struct mptcp_sock *(*const bpf_skc_to_mptcp_sock)(void *socket) = (void *)
	BPF_FUNC_skc_to_mptcp_sock;
static long (*const bpf_set_retval)(int retval) = (void *)BPF_FUNC_set_retval;
static long (*const bpf_bind)(void *ctx, const void *address, int length) = (void *)BPF_FUNC_bind;
static long (*const bpf_getsockopt)(void *ctx, int level, int option, void *value,
				    int length) = (void *)BPF_FUNC_getsockopt;
static long (*const bpf_setsockopt)(void *ctx, int level, int option, void *value,
				    int length) = (void *)BPF_FUNC_setsockopt;
static void *(*const bpf_skc_to_tcp_sock)(void *socket) = (void *)BPF_FUNC_skc_to_tcp_sock;
static void *(*const bpf_skc_to_tcp6_sock)(void *socket) = (void *)BPF_FUNC_skc_to_tcp6_sock;
static void *(*const bpf_skc_to_udp6_sock)(void *socket) = (void *)BPF_FUNC_skc_to_udp6_sock;
static long (*const bpf_seq_write)(void *seq, const void *data,
				   __u32 length) = (void *)BPF_FUNC_seq_write;
static long (*const bpf_map_delete_elem)(const void *map,
					 const void *key) = (void *)BPF_FUNC_map_delete_elem;
static long (*const bpf_loop)(__u32 count, void *callback, void *context,
			      __u64 flags) = (void *)BPF_FUNC_loop;
static long (*const bpf_timer_init)(void *timer, void *map,
				    __u64 flags) = (void *)BPF_FUNC_timer_init;
static long (*const bpf_timer_set_callback)(void *timer,
					    void *callback) = (void *)BPF_FUNC_timer_set_callback;
static long (*const bpf_timer_start)(void *timer, __u64 ns,
				     __u64 flags) = (void *)BPF_FUNC_timer_start;
static long (*const bpf_ringbuf_output)(void *ring, const void *data, __u64 length,
					__u64 flags) = (void *)BPF_FUNC_ringbuf_output;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to,
					__u32 length) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 length,
					 __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_skb_vlan_pop)(void *skb) = (void *)BPF_FUNC_skb_vlan_pop;
static long (*const bpf_skb_change_tail)(void *skb, __u32 length,
					 __u64 flags) = (void *)BPF_FUNC_skb_change_tail;
static long (*const bpf_skb_change_head)(void *skb, __u32 length,
					 __u64 flags) = (void *)BPF_FUNC_skb_change_head;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, __u32 offset, void *to,
						 __u32 length, __u32 start) = (void *)
	BPF_FUNC_skb_load_bytes_relative;
static long (*const bpf_skb_adjust_room)(void *skb, __s32 change, __u32 mode,
					 __u64 flags) = (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_l4_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to,
					 __u64 flags) = (void *)BPF_FUNC_l4_csum_replace;
static __s64 (*const bpf_csum_diff)(const void *from, __u32 from_size, const void *to,
				    __u32 to_size, __u32 seed) = (void *)BPF_FUNC_csum_diff;
static __s64 (*const bpf_csum_update)(void *skb, __u32 sum) = (void *)BPF_FUNC_csum_update;
static long (*const bpf_fib_lookup)(void *ctx, void *params, int length,
				    __u32 flags) = (void *)BPF_FUNC_fib_lookup;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_skb_ecn_set_ce)(void *skb) = (void *)BPF_FUNC_skb_ecn_set_ce;
static long (*const bpf_skb_set_tstamp)(void *skb, __u64 time,
					__u32 type) = (void *)BPF_FUNC_skb_set_tstamp;
static long (*const bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;
static long (*const bpf_skb_change_type)(void *skb, __u32 type) = (void *)BPF_FUNC_skb_change_type;
static long (*const bpf_redirect_neigh)(__u32 ifindex, void *params, int length,
					__u64 flags) = (void *)BPF_FUNC_redirect_neigh;
static long (*const bpf_skb_set_tunnel_key)(void *skb, const void *key, __u32 size,
					    __u64 flags) = (void *)BPF_FUNC_skb_set_tunnel_key;
static long (*const bpf_skb_get_tunnel_key)(void *skb, void *key, __u32 size,
					    __u64 flags) = (void *)BPF_FUNC_skb_get_tunnel_key;
static long (*const bpf_xdp_load_bytes)(void *xdp, __u32 offset, void *to,
					__u32 length) = (void *)BPF_FUNC_xdp_load_bytes;
static long (*const bpf_xdp_store_bytes)(void *xdp, __u32 offset, const void *from,
					 __u32 length) = (void *)BPF_FUNC_xdp_store_bytes;
static long (*const bpf_xdp_adjust_head)(void *xdp, int change) = (void *)BPF_FUNC_xdp_adjust_head;
static struct bpf_sock *(*const bpf_sk_lookup_udp)(void *ctx, const void *tuple, __u32 size,
						   __u64 netns,
						   __u64 flags) = (void *)BPF_FUNC_sk_lookup_udp;
static struct bpf_sock *(*const bpf_skc_lookup_tcp)(void *ctx, const void *tuple, __u32 size,
						    __u64 netns,
						    __u64 flags) = (void *)BPF_FUNC_skc_lookup_tcp;
static long (*const bpf_sk_release)(void *sock) = (void *)BPF_FUNC_sk_release;
static __u64 (*const bpf_xdp_get_buff_len)(void *xdp) = (void *)BPF_FUNC_xdp_get_buff_len;
