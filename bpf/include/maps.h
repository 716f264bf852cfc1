/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps that several objects share. Sizes here are defaults; the control plane sets them. */
#pragma once

#include "abi.h"
#include "bpf.h"

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, struct service_key);
	MAP_TYPE(value, struct service);
} services SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} slots SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct backend);
} backends SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct backend_stats);
} backend_stats SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, struct address_key);
	MAP_TYPE(value, enum address_role);
} addresses SEC(".maps");

/*
 * Addresses that were ever a service's or the node's, by a hash, one bit each: most packets are for others, and a bit
 * tells of nearly all of them. The control plane sets it before the address is in `addresses`.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, ADDRESS_FILTER_WORDS);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} address_filter SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, struct affinity_key);
	MAP_TYPE(value, struct affinity);
} affinity SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_SK_STORAGE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct connection);
} connections SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_SK_STORAGE);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct udp_peers);
} flows SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, REFUSAL_REASONS);
	MAP_TYPE(key, __u32); /* enum refusal_reason */
	MAP_TYPE(value, __u64);
} refusals SEC(".maps");

/* A service has entries for what was refused of it, and none if nothing was; they go with it. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, struct service_refusal);
	MAP_TYPE(value, __u64);
} service_refused SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 16384); /* a quarter of nat_flows */
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct ct_bucket);
} nat_index SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct ct_entry);
} nat_flows SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct ct_window);
} nat_windows SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 8192); /* an eighth of nat_flows */
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct evictable_group);
} nat_evictable SEC(".maps");

/* It counts the addresses of clients first, then frontends. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 2 * NAT_SHARES);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} nat_shares SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, CT_EVENTS);
	MAP_TYPE(key, __u32); /* enum ct_event */
	MAP_TYPE(value, __u64);
} flow_events SEC(".maps");

/*
 * Addresses with ports, by a hash, one bit each, that replies leave the node from; see reply_filter_hit. A bit
 * stays: there are few backends compared to bits, and one too many costs a lookup.
 */
#define REPLY_SOURCE_WORDS 1024

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, REPLY_SOURCE_WORDS);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} reply_sources SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, SNAT_ADDRESSES);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct snat_address);
} nat_sources SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct ct_table);
} nat_table SEC(".maps");

/*
 * To whom the node's stack, or a pod that it masquerades, lately sent UDP from an address and port of the node that a
 * service has, too: the key of the answer, and the tick. Such an answer is the stack's.
 */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 2048);
	MAP_TYPE(key, struct tuple);
	MAP_TYPE(value, __u32);
} stack_answers SEC(".maps");

/* Where the search for a free port goes on, by a hash of the backend's address and port. */
#define PORT_SEARCHES 1024

struct port_search {
	__u32 next;
	__u32 exhausted_at; /* tick in which no port was free towards the backend with the hash that follows */
	__u32 backend;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, PORT_SEARCHES);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct port_search);
} port_searches SEC(".maps");

/* What find_service_backend found; an LRU map, as what it forgets is found again. */
struct tunnel_backend_key {
	__u8 address[16];
	__u32 service;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, struct tunnel_backend_key);
	MAP_TYPE(value, __u32);
} tunnel_backends SEC(".maps");

/*
 * Clients and backends between which a tunnel is said to be too narrow for what every host may send, and the tick in
 * which that was said. It is kept for each client: anybody may say so of a connection of its own.
 */
struct narrow_path {
	__u8 client[16];
	__u8 backend[16];
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, struct narrow_path);
	MAP_TYPE(value, __u32);
} narrow_paths SEC(".maps");

/* The kernel's timer that collects garbage; in a map of its own, as such a one can't be mapped. */
struct nat_timer {
	struct bpf_timer timer;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct nat_timer);
} nat_timer SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, __u32); /* ifindex */
	MAP_TYPE(value, enum interface_role);
} node_devices SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, __u32); /* ifindex */
	MAP_TYPE(value, struct xdp_device);
} xdp_devices SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_LPM_TRIE);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, BPF_F_NO_PREALLOC);
	MAP_TYPE(key, struct source_range_key);
	MAP_TYPE(value, enum source_range);
} source_ranges SEC(".maps");

/* 64 KiB datagrams in flight are few; what is forgotten is sent again. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 8192);
	MAP_TYPE(key, struct fragment_key);
	MAP_TYPE(value, struct fragment_ports);
} fragments SEC(".maps");

/* The fragments of a packet to the node's address that came too long before the first, and so went to the stack. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_LRU_HASH);
	MAP_UINT(max_entries, 2048);
	MAP_TYPE(key, struct fragment_key);
	MAP_TYPE(value, __u32);
} early_fragments SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, REFUSAL_REASONS);
	MAP_TYPE(key, __u32); /* enum drop_reason */
	MAP_TYPE(value, __u64);
} drops SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_TYPE_RINGBUF);
	MAP_UINT(max_entries, 256 * 1024);
} drop_events SEC(".maps");

/*
 * The flows that packets lately belonged to, by CPU, and the ways that they went: what was found in tables of
 * all flows, and the kernel's answers, which take longer than all the rest of a packet's translation. Where
 * two of them share a place, the later one has it.
 */
#define FLOW_CACHE_BLOCKS 16
#define FLOW_CACHE_BLOCK_ENTRIES 64

/* Half a line of the processor's cache. */
struct flow_cache_entry {
	__u32 tag; /* of the packets' addresses and ports, and of what else the way depends on */
	__u32 reference;/* as in a slot of nat_index */
	__u32 epoch; /* when the kernel was asked, in units of 2^FLOW_CACHE_EPOCH_SHIFT ns */
	__u32 ifindex; /* device */
	__u16 mtu;
	__u8 dmac[6];
	__u8 smac[6];
	__u8 unused[2];
};

/* Many in one entry, as each entry of such a map is a piece of memory of its own, found by a pointer. */
struct flow_cache_block {
	struct flow_cache_entry entries[FLOW_CACHE_BLOCK_ENTRIES];
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, FLOW_CACHE_BLOCKS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct flow_cache_block);
} known_flows SEC(".maps");

/* How many resets and ICMP errors may yet be sent, by CPU. */
struct answer_budget {
	__u64 filled; /* ns of CLOCK_MONOTONIC */
	__u64 left;
};

struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct answer_budget);
} answer_budget SEC(".maps");

/* Of a map whose values are words of 64 bits. */
INLINE int has_bit(void *map, __u32 bit)
{
	__u32 word = bit / 64;
	__u64 *bits = bpf_map_lookup_elem(map, &word);

	return bits && *bits >> bit % 64 & 1;
}
