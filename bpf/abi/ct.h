/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The conntrack table: the connections that are translated on the node's interfaces. They are those
 * of clients to services, and those of pods to the world, which are masqueraded: such a connection
 * has no backend but the destination itself, so its frontend and backend are the same. So do those
 * of pods that network policies select, which keep all addresses, and with the setting `visibility`
 * those of all other pods. A connection
 * is one entry of `nat_flows`, and its two tuples, one for each direction, are in `nat_index`. The
 * reply tuple is inserted first and thereby reserves the SNAT port. A connection that is tunnelled
 * to another node has its original tuple only, because its replies do not return through this node.
 */
#pragma once

#include <linux/types.h>

/*
 * Addresses, ports and protocol of a packet. An ICMP echo has its identifier in place of the port
 * of the side that sends requests; the other side's port is 0.
 */
struct tuple {
	__u8 source[16];
	__u8 destination[16];
	__be16 source_port;
	__be16 destination_port;
	__u32 protocol; /* IPPROTO_* */
};

#define TUPLE_WORDS 10

/*
 * Map `nat_index`: buckets of tuples, by a hash. A slot is one word that names an entry, so that it
 * changes atomically. A slot that is 0 is free.
 */
#define CT_BUCKET_SLOTS 16
/* The bits below the tag are the entry's index, doubled, plus 1 for the reply tuple. */
#define CT_SLOT_TAG_SHIFT 32	    /* 16 bits of the hash, never 0 */
#define CT_SLOT_GENERATION_SHIFT 48 /* 16 bits of the backend's generation */

struct ct_bucket {
	__u64 slots[CT_BUCKET_SLOTS];
};

enum ct_state {
	CT_FREE = 0,
	CT_DYING =
		1, /* Its tuples are removed; it becomes free once no program can use it any more. */
	CT_TCP_SYN = 2,
	CT_TCP_SYN_ACK = 3,
	CT_TCP_ESTABLISHED = 4,
	CT_TCP_CLIENT_FIN = 5,
	CT_TCP_BACKEND_FIN = 6,
	CT_TCP_CLOSED_BY_CLIENT =
		7, /* Both FINs were seen, the client's first, but not its last ACK. */
	CT_TCP_CLOSED_BY_BACKEND =
		8,	  /* The backend's FIN was first, so the backend is in TIME-WAIT. */
	CT_TCP_RESET = 9, /* The connection was reset, or the backend has forgotten it. */
	CT_UDP_UNANSWERED = 10,
	CT_UDP = 11,
	CT_SCTP_UNANSWERED = 12,
	CT_SCTP = 13,
	CT_ICMP_UNANSWERED = 14, /* an echo request of either family */
	CT_ICMP = 15,
};

#define CT_STATES 16

#define SNAT_ADDRESSES 64

/* The fields of ct_entry.state_word, which is one word so that it changes atomically. */
#define CT_SEEN_MASK 0xffff /* time of the last packet, in ticks of 2^30 ns */
#define CT_STATE_SHIFT 16   /* enum ct_state */
#define CT_STATE_MASK (0xf << CT_STATE_SHIFT)
/* The field has the backend's generation modulo 7, plus 1; 0: unknown, in an old version. */
#define CT_BACKEND_GEN_SHIFT 20
#define CT_BACKEND_GEN_MASK (7 << CT_BACKEND_GEN_SHIFT)
#define CT_COUNTED (1u << 23) /* The connection counts in backend_stats.active. */
#define CT_SNAT_SHIFT 24      /* index in nat_sources, 6 bits; 0: the client's address is kept */
#define CT_SNAT_MASK (SNAT_ADDRESSES - 1)
/*
 * Not both sides have confirmed the connection, so it may be evicted. Entries of versions 1 and 2
 * lack this bit.
 */
#define CT_UNCONFIRMED (1u << 30)
/* Packets are tunnelled to the backend's node, so only the client's are seen here. */
#define CT_TUNNELLED (1u << 31)
#define TICK_SHIFT 30

/* Map `nat_flows`. */
struct ct_entry {
	__u8 client[16];
	__u8 frontend[16];
	__u8 backend[16];
	__be16 client_port;
	__be16 frontend_port;
	__be16 backend_port;
	__be16 source_port; /* the client's port as the backend sees it */
	/* 0: the destination itself; of a free entry: the next free one */
	__u32 backend_id;
	__u32 state_word;
};

/* Map `nat_sources`: SNAT addresses, which are addresses of this node. Index 0 is never used. */
struct snat_address {
	__u8 address[16];
};

/* The readers that exist. */
enum ct_watched {
	WATCHED_DROPS = 1, /* of drop_events */
	WATCHED_DNS = 2,   /* of dns_answers */
};

/* Map `nat_table`: one value, the state of the whole table. */
struct ct_table {
	__u64 free; /* the first free entry in the lower half; the upper half counts the changes */
	__u32 high_water; /* Entries above this one were never used. */
	__u32 used;
	__u32 unconfirmed; /* entries that not both sides have confirmed */
	__u32 gc_position; /* the entry that the garbage collection examined last */
	__u32 source_ipv4; /* index in nat_sources of the default SNAT address */
	__u32 source_ipv6;
	enum ct_watched watched; /* bits */
	__u16 nf_tracked; /* 1: netfilter tracks connections here, and so must see both directions */
	__u8 tunnel_ipv4; /* index in nat_sources of the local address of tunnels; 0: none */
	__u8 tunnel_ipv6;
	__u32 created; /* number of connections created; the clock by which evictable entries age */
	__u32 clock_hand; /* the group of nat_evictable where the next search begins */
	__u32 unconfirmed_udp;
	__u32 confirmed_udp;
	__u32 held;	/* entries that may not be evicted: open connections that are confirmed */
	__u32 reserved; /* The secret, which is only read, has a cache line of its own. */
	__u32 secret[TUPLE_WORDS]; /* the key of the hash of tuples */
};

/*
 * Map `nat_windows`: the sequence numbers of both sides of a TCP connection, by the entry's index.
 * The client is side 0, the backend side 1. Two values share a cache line.
 */
struct ct_window {
	__u32 end[2];	/* the sequence number after the last byte that the side has sent */
	__u32 acked[2]; /* the highest number that the side has acknowledged */
	__u8 shift[2];	/* log2 of the largest window offered, rounded up; 0: unknown */
	__u8 scale[2];	/* the side's window scale (RFC 7323) */
	/* The rest is of all protocols: the verdict of network policies about the connection. */
	__u32 policy_epoch; /* policy_state.epoch at the verdict */
	__u16 egress_rule;  /* the rule that allowed it, plus 1; 0: none */
	__u16 ingress_rule;
	/*
	 * 0, or the reason why policies deny the connection by now. Its entry stays for a while, or
	 * the packets of the other side would seem to begin a new one.
	 */
	__u32 denied;
};

#define FRONTEND_CHECKED (1u << 31)

/*
 * Map `nat_facts`: facts about connections for those who observe them, by the entry's index. The
 * programs write them with the setting `visibility` only; otherwise the map has one entry. A value
 * is a cache line. The client is side 0, the backend side 1.
 */
struct ct_facts {
	__u64 packets[2]; /* that the side has sent, as they are on a network */
	__u64 bytes[2];	  /* of their frames */
	__u64 created;	  /* in ns of CLOCK_MONOTONIC */
	/*
	 * The service that a socket of a pod of this node has asked for; all zero: none, or unknown.
	 */
	__u8 frontend[16];
	__be16 frontend_port;
	__u16 reserved;
	__u32 checked; /* FRONTEND_CHECKED with the tick in which the socket was looked up; 0: never
			*/
};

/*
 * Map `nat_evictable`: a word for each entry; 0: the entry may not be evicted. The words of
 * adjacent entries share a cache line, so that a victim is found without touching the entries
 * themselves.
 */
#define ENTRIES_PER_GROUP 8

struct evictable_group {
	__u64 entries[ENTRIES_PER_GROUP];
};

/* The lower bits are two indexes in nat_shares: of the client's address and of the frontend. */
#define EVICTABLE_SOURCE_MASK 0xfff
#define EVICTABLE_SERVICE_SHIFT 12
#define EVICTABLE (1u << 24) /* always set, so that the word is not 0 */
#define EVICTABLE_UDP (1u << 25)
#define EVICTABLE_CLOSED (1u << 26) /* nat_shares does not count closed connections. */
/* The upper half is ct_table.created at the time that the connection was created or closed. */
#define EVICTABLE_CREATED_SHIFT 32

/*
 * Map `nat_shares`: unconfirmed entries by a hash of the client's address, and by a hash of the
 * frontend.
 */
#define NAT_SHARES 4096

/*
 * Map `nat_held`: held entries of connections without a service by a hash of the client's address,
 * by one of the destination and protocol, and by one of both. A count is in one counter of each
 * row, and counters of other keys may be added to it in one row but hardly in both, so the smaller
 * one is the better estimate (a count-min sketch).
 */
#define HELD_ROWS 2
#define HELD_COUNTERS 8192 /* in a row */

/*
 * Map `port_searches`: the position of the next search for a free SNAT port, by a hash of the
 * backend.
 */
#define PORT_SEARCHES 1024

struct port_search {
	__u32 next;
	__u32 exhausted_at; /* tick of the last search that found no free port towards `backend` */
	__u32 backend;	    /* hash of the backend's address and port */
};

/* Map `fragments`: the ports of a fragmented packet, which only its first fragment has. */
struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 id; /* identification, as in the packet */
	__u32 protocol;
};

struct fragment_ports {
	__be16 source_port;
	__be16 destination_port;
};

/*
 * Map `narrow_paths`: clients and backends between which a tunnel is too narrow for packets that
 * all hosts may send, and the tick of the ICMP error that reported it. The key has the client,
 * because any host can send such an error about its own connection.
 */
struct narrow_path {
	__u8 client[16];
	__u8 backend[16];
};

/*
 * Map `known_flows`: the flow cache. It holds, per CPU, the conntrack entry and the next hop of
 * recent packets, because the lookups take longer than the rest of the translation. A new entry
 * replaces an older one in the same place.
 */
#define FLOW_CACHE_BLOCKS 16
#define FLOW_CACHE_BLOCK_ENTRIES 64

/* An entry is half a cache line. */
struct flow_cache_entry {
	__u32 tag;	 /* hash of the packet's tuple and of the inputs of the route lookup */
	__u32 reference; /* as in a slot of nat_index */
	__u32 epoch;	 /* time of the route lookup, in units of 2^FLOW_CACHE_EPOCH_SHIFT ns */
	__u32 ifindex;
	__u16 mtu;
	__u8 dmac[6];
	__u8 smac[6];
	__u8 unused[2];
};

/*
 * A map entry holds many, because each entry of a per-CPU map is a separate allocation behind a
 * pointer.
 */
struct flow_cache_block {
	struct flow_cache_entry entries[FLOW_CACHE_BLOCK_ENTRIES];
};
