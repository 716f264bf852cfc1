/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct that the kernel half and the control plane both know. Addresses are 16 bytes in
 * network byte order, IPv4 as ::ffff:a.b.c.d; __be16 fields are in network byte order too, all
 * other integers in the host's. Structs have no hidden padding: keys are compared byte by byte.
 *
 * A change of layout here is a change of CURRENT_ABI, and so of the folder that maps are pinned in.
 */
#pragma once

#include <linux/types.h>

/*
 * Values only ever grow at their end, so that an upgrade can carry what a map holds over to the new
 * layout; keys never change.
 */
enum heddle_abi {
	CURRENT_ABI = 3,
};

/*
 * Where a service is looked up from. What holds for everybody is kept once, as internal; a packet
 * that enters the node looks for an external entry first.
 */
enum service_scope {
	SCOPE_INTERNAL = 0, /* a socket on this node, and packets that find nothing external */
	SCOPE_EXTERNAL = 1, /* a packet that enters the node */
};

/*
 * services: frontend -> the run of slots that serves it. A NodePort is kept once for each address
 * of the node, and once for the unspecified address, which stands for loopback and guards bind(). So is
 * a pod's hostPort, unless its hostIP is one address, of loopback perhaps: then it is kept for that only.
 */
struct service_key {
	__u8 address[16];
	__be16 port;
	__u8 protocol; /* IPPROTO_* */
	enum service_scope scope : 8;
};

enum service_algorithm {
	ALGORITHM_RANDOM = 0, /* also weighted: a backend fills slots by its weight */
	ALGORITHM_ROUND_ROBIN = 1,
	ALGORITHM_LEAST_CONNECTIONS = 2,
	ALGORITHM_HASH = 3, /* of the client; the run is a maglev table */
};

enum service_flags {
	SERVICE_NO_FLAGS = 0,
	/* Without endpoints packets are dropped, not refused: other nodes have some (externalTrafficPolicy). */
	SERVICE_DROP_IF_EMPTY = 1,
	/* Packets to backends of other nodes go there in a tunnel; the replies don't come back here. */
	SERVICE_DSR = 2,
	/* A pod's own port: bind() is guarded at each of its addresses (a NodePort's: at the unspecified one). */
	SERVICE_HOST_PORT = 4,
	/* A frontend of a load balancer that serves some clients only: source_ranges has them. */
	SERVICE_SOURCE_RANGES = 8,
	/* The same for clients that do not enter the node: its pods and processes (sourceRanges: everywhere). */
	SERVICE_INTERNAL_SOURCE_RANGES = 16,
};

struct service {
	__u32 id;
	__u32 first_slot;
	__u32 slot_count; /* 0: no endpoints, refuse */
	__u32 affinity_seconds;
	enum service_algorithm algorithm;
	/* Round robin's position; the kernel's to count, an update starts it anew. */
	__u32 cursor;
	enum service_flags flags;
};

/* backends: an array by backend id; id 0 is never used. A backend belongs to one service. */
enum backend_state {
	BACKEND_GONE = 0,
	BACKEND_ACTIVE = 1,
	BACKEND_DRAINING = 2, /* keeps what it has, gets nothing new */
};

struct backend {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	enum backend_state state : 8;
	__u32 service;
	__u32 generation; /* counts the uses of this id, so that a stale reference is known as such */
	__u32 weight;
};

/* backend_stats: an array by backend id, counted by the kernel. */
struct backend_stats {
	__u64 connections; /* made since the backend got its id; for unconnected UDP: flows */
	__u32 active;	   /* open now; kept for least-connections services only */
	__u32 since;	   /* tick at which the backend got its id */
	__u64 packets; /* both ways, of what is translated on the node's devices */
	__u64 bytes;
};

/* address_filter: bits, 64 in a word; which one is an address's, front.h says. */
#define ADDRESS_FILTER_WORDS 4096

/* addresses: what an address is known as, whatever the port. */
enum address_role {
	ADDRESS_SERVICE = 1, /* a ClusterIP: a port that no service has is refused */
	ADDRESS_UDP_BACKEND = 2,
	ADDRESS_NODE = 4,     /* the node's own: NodePorts, and the source of translated packets */
	ADDRESS_EXTERNAL = 8, /* a load balancer's, or an externalIP */
	ADDRESS_PEER = 16,    /* another node's: tunnels from there are believed */
};

struct address_key {
	__u8 address[16];
};

/* affinity: which backend a client had last. */
struct affinity_key {
	/* Cookie of the client's network namespace, one for each pod; from outside a hash of its address. */
	__u64 client;
	__u32 service;
	__u32 reserved;
};

struct affinity {
	__u32 backend;
	__u32 generation;
	__u64 last_used; /* ns of CLOCK_MONOTONIC */
};

/* What a socket's traffic with a backend was addressed to. */
struct origin {
	__u8 frontend[16];
	__u8 backend_address[16];
	__be16 frontend_port;
	__be16 backend_port;
	__u32 backend; /* id; 0: the socket itself chose the address, which may be a service's without backends */
	__u32 generation;
	__u32 service;
};

/* connections: per socket, what the last connect() asked for; whether it has succeeded, the socket's own peer says. */
struct connection {
	struct origin origin;
	__u32 counted; /* in backend_stats.active */
	__u32 reserved;
};

/* flows: per UDP socket, what else its datagrams were addressed to. */
#define UDP_PEERS_PER_SOCKET 16

enum reply {
	REPLY_NONE = 0,
	REPLY_AWAITED = 1,
	REPLY_WAS_CONNECTED = 2, /* the socket was connected to it */
};

struct udp_peer {
	struct origin origin;
	/* Number of the last datagram sent, over all flows of the socket; see udp_peer_by_backend in socket-flows.h. */
	__u32 sent;
	enum reply reply;
};

struct udp_peers {
	__u32 count;
	__u32 sent;
	__u32 reserved[2];
	struct udp_peer peers[UDP_PEERS_PER_SOCKET];
};

/* refusals: per-CPU counters by reason. The numbers are Hubble's drop reasons. */
enum refusal_reason {
	REFUSED_INVALID_SOURCE = 132, /* the socket is bound to a loopback address, and the backend is elsewhere */
	REFUSED_UNKNOWN_PORT = 151, /* a service address, but not a port of it */
	REFUSED_NO_BACKEND = 158,   /* no endpoints */
	REFUSED_SOURCE_RANGE = 177, /* loadBalancerSourceRanges doesn't have the client */
};

#define REFUSAL_REASONS 256

/* service_refused: what of a service was refused, at sockets and on the node's devices, as counts. */
struct service_refusal {
	__u32 service; /* id */
	__u32 reason;  /* enum refusal_reason or drop_reason: a number means the same in both */
};

/* What stale.bpf.c reports: a socket that is connected to a backend that is gone. */
struct stale_socket {
	__u64 cookie;  /* of the socket, by which sock_diag knows it, too */
	__u32 netns;   /* inode number of its network namespace */
	__be16 port;   /* of the backend */
	__u16 protocol; /* IPPROTO_* */
};

/*
 * Offsets, in bytes, of the fields that client.h reads in the kernel's structs. They are constants in place of CO-RE
 * relocations, so that the programs have the same instructions, and so the same tag, on every kernel.
 */
struct kernel_fields {
	__u32 known;		/* 0: the kernel's memory cannot be read */
	__u32 context_socket;	/* bpf_sock_addr_kern.sk */
	__u32 socket_net;	/* sock.__sk_common.skc_net */
	__u32 net_devices;	/* net.dev_base_head */
	__u32 device_list;	/* net_device.dev_list */
	__u32 device_flags;	/* net_device.flags */
	__u32 device_ipv4;	/* net_device.ip_ptr */
	__u32 device_ipv6;	/* net_device.ip6_ptr */
	__u32 ipv4_addresses;	/* in_device.ifa_list */
	__u32 ipv4_next;	/* in_ifaddr.ifa_next */
	__u32 ipv4_address;	/* in_ifaddr.ifa_local */
	__u32 ipv4_scope;	/* in_ifaddr.ifa_scope */
	__u32 ipv6_addresses;	/* inet6_dev.addr_list */
	__u32 ipv6_list;	/* inet6_ifaddr.if_list */
	__u32 ipv6_address;	/* inet6_ifaddr.addr */
	__u32 ipv6_scope;	/* inet6_ifaddr.scope */
};

/* Options of socket.bpf.c, set before it is loaded. */
struct socket_config {
	__u64 node_netns_cookie; /* the network namespace whose loopback and binds are the node's */
	enum heddle_abi abi;	 /* for whoever inspects the map */
	__u32 reserved;
	struct kernel_fields kernel;
};

/*
 * The flow table: what packets are translated by on the node's devices. A flow is one entry of
 * nat_flows with two keys in nat_index, one for each direction. The reply's key is made first and
 * reserves the port that the backend sees. A flow that is tunnelled to another node has the client's
 * key only: the replies don't come back here.
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
 * nat_index: the keys, by a hash. A slot says in one word which flow to look at, so that it changes as one; 0: it
 * is free.
 */
#define CT_BUCKET_SLOTS 16
#define CT_SLOT_TAG_SHIFT 32	 /* below it the index in nat_flows, doubled; plus one for the reply's key */
#define CT_SLOT_GENERATION_SHIFT 48 /* of the backend, 16 bits; below it as many of the hash, never 0 */

struct ct_bucket {
	__u64 slots[CT_BUCKET_SLOTS];
};

enum ct_state {
	CT_FREE = 0,
	CT_DYING = 1, /* its keys are gone; free once no program can be looking at it */
	CT_TCP_SYN = 2,
	CT_TCP_SYN_ACK = 3,
	CT_TCP_ESTABLISHED = 4,
	CT_TCP_CLIENT_FIN = 5,
	CT_TCP_BACKEND_FIN = 6,
	CT_TCP_CLOSED_BY_CLIENT = 7,	/* both FINs seen, the client's first, but not its last word */
	CT_TCP_CLOSED_BY_BACKEND = 8, /* ... the backend's: it keeps the port in TIME-WAIT */
	CT_TCP_RESET = 9, /* or closed: the backend has forgotten it */
	CT_UDP_UNANSWERED = 10,
	CT_UDP = 11,
	CT_SCTP_UNANSWERED = 12,
	CT_SCTP = 13,
};

#define CT_STATES 16

#define SNAT_ADDRESSES 64

/* `life` in one word, so that it changes as one. */
#define CT_SEEN_MASK 0xffff	/* when the last packet came, in ticks of 2^30 ns */
#define CT_STATE_SHIFT 16	/* enum ct_state */
#define CT_STATE_MASK (0xf << CT_STATE_SHIFT)
#define CT_BACKEND_GEN_SHIFT 20 /* which use of its id the backend is, 1 to 7 in turn; 0: made before this was kept */
#define CT_BACKEND_GEN_MASK (7 << CT_BACKEND_GEN_SHIFT)
#define CT_COUNTED (1u << 23) /* in backend_stats.active */
#define CT_SNAT_SHIFT 24	/* index in nat_sources, 6 bits; 0: the client's own address is kept */
#define CT_SNAT_MASK (SNAT_ADDRESSES - 1)
/* Not both sides have confirmed the flow: it may be evicted. Flows of versions 1 and 2 lack it. */
#define CT_UNCONFIRMED (1u << 30)
#define CT_TUNNELLED (1u << 31) /* to the backend's node, from that source; only the client is heard */
#define TICK_SHIFT 30

struct ct_entry {
	__u8 client[16];
	__u8 frontend[16];
	__u8 backend[16];
	__be16 client_port;
	__be16 frontend_port;
	__be16 backend_port;
	__be16 source_port; /* the client's, as the backend sees it */
	__u32 backend_id;   /* of a free entry: the next free one */
	__u32 state_word;
};

/* nat_sources: addresses of this node that a backend sees in place of the client's; 0 is never used. */
struct snat_address {
	__u8 address[16];
};

/* nat_table: one value, the flow table's state. */
struct ct_table {
	__u64 free;	   /* first free flow below; counts its changes in the upper half */
	__u32 high_water;   /* flows above this one were never used */
	__u32 used;
	__u32 unconfirmed;  /* flows that not both sides have confirmed */
	__u32 gc_position;	   /* where the garbage collection stands */
	__u32 source_ipv4; /* index in nat_sources, used where the route doesn't tell */
	__u32 source_ipv6;
	__u32 watched;	   /* whether somebody reads drop_events */
	__u16 nf_tracked;	   /* whether netfilter tracks connections here, and so must see both directions */
	__u8 tunnel_ipv4;  /* index in nat_sources of what other nodes know this one by; 0: none */
	__u8 tunnel_ipv6;
	__u32 created;	   /* flows begun so far: the clock by which evictable flows age */
	__u32 clock_hand;	   /* the group of nat_evictable at which the next search for a victim begins */
	__u32 unconfirmed_udp;
	__u32 confirmed_udp;
	__u32 reserved[2]; /* what is only read has a line of the processor's cache of its own */
	__u32 secret[TUPLE_WORDS]; /* of the hash by which keys are found */
};

/*
 * nat_windows: what both sides of a TCP flow have sent, by the flow's index; the client is side 0, the backend 1.
 * Two of them share a line of the processor's cache.
 */
struct ct_window {
	__u32 end[2];	/* the sequence number after the last byte that a side has sent */
	__u32 acked[2]; /* what a side expects next: the highest number that it has acknowledged */
	__u8 shift[2];	/* log2 of the largest window that a side has offered, rounded up; 0: nothing is known of it */
	__u8 scale[2];	/* by how many bits a side shifts the windows that it offers */
	__u32 reserved[3];
};

/*
 * nat_evictable: one word for each flow; 0: the flow may not be evicted. Words of flows beside each other are one
 * line of the processor's cache, so that a victim is found without touching the flows themselves.
 */
#define ENTRIES_PER_GROUP 8

struct evictable_group {
	__u64 entries[ENTRIES_PER_GROUP];
};

#define EVICTABLE_SOURCE_MASK 0xfff  /* entry of nat_shares that counts the flows of the client's address */
#define EVICTABLE_SERVICE_SHIFT 12   /* ... and that of the service's, 12 bits each */
#define EVICTABLE (1u << 24)	     /* always set, so that the word is not 0 */
#define EVICTABLE_UDP (1u << 25)
#define EVICTABLE_CLOSED (1u << 26)    /* both sides had confirmed it, and it is over; nat_shares don't count it */
#define EVICTABLE_CREATED_SHIFT 32	     /* nat_table.created when it began, or when it was over */

/* nat_shares: how many unconfirmed flows there are, by a hash of the client's address and by one of the frontend. */
#define NAT_SHARES 4096

/* flow_events: per-CPU counters. */
enum ct_event {
	CT_EVICTED_OLDEST = 0,      /* no share was exceeded */
	CT_EVICTED_SERVICE = 1,     /* of a service that exceeds its share, or of UDP, which exceeds it */
	CT_EVICTED_SOURCE = 2,      /* of a client's address that exceeds its share */
	CT_EVICTED_CLOSED = 3,	       /* its connection was over */
	CT_EVICTED_PORT = 4,	       /* a new flow needed its SNAT port */
	CT_EVICTED_BUCKET = 5,      /* a new flow's key needed its slot of the index */
	CT_INVALID_ACK = 6,      /* it acknowledges what the backend has not sent, in a handshake */
	CT_INVALID_SYN = 7,      /* of a connection that is open */
	CT_INVALID_FIN = 8,      /* outside the window */
	CT_INVALID_RST = 9,      /* not exactly what is expected next */
};

#define CT_EVENTS 16

/* fragments: the ports of IP packets that came in fragments, which only the first of them has. */
struct fragment_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 id; /* as in the packet */
	__u32 protocol;
};

struct fragment_ports {
	__be16 source_port;
	__be16 destination_port;
};

/*
 * source_ranges: who may come in at a frontend, by longest prefix. A frontend that is not for
 * everybody has an entry for all clients that denies, and one for each range that allows.
 */
enum source_range {
	RANGE_DENIED = 1,
	RANGE_ALLOWED = 2,
};

struct source_range_key {
	__u32 prefix_length; /* in bits, of what follows; the client's part begins at 160 */
	__u8 frontend[16];
	__be16 port;
	__u8 protocol;
	__u8 reserved;
	__u8 client[16];
};

/* node_devices: by ifindex. */
enum interface_role {
	INTERFACE_EXTERNAL = 1, /* leads out of the node: what enters and leaves by such gets the node's address */
	/* Leads to pods: what enters by such finds what a socket of the node would, and keeps its address. */
	INTERFACE_POD = 2,
};

/* xdp_devices: by ifindex, the front devices that have the XDP program. */
struct xdp_device {
	__u8 address[6]; /* of the link: XDP sees whatever arrives, also frames for others */
	__u16 reserved;
};

/* drops: per-CPU counters by reason. The numbers are Hubble's drop reasons. */
enum drop_reason {
	DROP_INVALID_SOURCE = 132,   /* no packet can come from there, or not that way */
	DROP_INVALID = 134,	     /* a header is cut short or impossible, or its checksum is wrong */
	DROP_TOO_LARGE = 136,	     /* for the next link; the sender is told */
	DROP_WRITE = 141,	     /* the packet could not be changed */
	DROP_PROTOCOL = 142,	     /* a service address, but not a protocol that services have */
	DROP_UNKNOWN_PORT = 151,     /* a service address, but not a port of it */
	DROP_NOT_LOCAL = 152,	     /* externalTrafficPolicy is Local, and no endpoint is here */
	DROP_TABLE_FULL = 155,	     /* the flow table has no room, or the flow has just been evicted */
	DROP_EXTENSION_HEADER = 156, /* IPv6 extension headers beyond what is followed */
	DROP_FRAGMENT = 157,	     /* the first fragment, which has the ports, did not come */
	DROP_NO_BACKEND = 158,	     /* no endpoints, or the flow's one is gone */
	DROP_NO_FLOW = 163,	     /* TCP, but neither a SYN nor of a known flow */
	DROP_NO_PORT = 167,	     /* all ports towards that backend are taken */
	DROP_NO_ROUTE = 169,
	DROP_SOURCE_RANGE = 177,     /* loadBalancerSourceRanges doesn't have the client */
	DROP_TTL = 196,
};

/* drop_events: what was dropped, while somebody watches. */
struct drop_event {
	struct tuple tuple;
	enum drop_reason reason;
	__u32 ifindex;
	__u32 length; /* of the packet, in bytes */
	__u32 reserved;
};

/* What 1, 2, 4, ... bytes of zero make of a CRC32c that has a single bit set; a constant for sctp.h. */
#define CRC32C_POWERS 16

struct crc32c_powers {
	__u32 bits[CRC32C_POWERS * 32];
};

/* Options of node.bpf.c, set before it is loaded. */
struct node_config {
	__u32 flows;		/* entries of nat_flows */
	__u32 unconfirmed_limit; /* so many of them may be unconfirmed; then the oldest is evicted for a new one */
	__u32 first_port;	/* ports that the node takes for translated packets */
	__u32 port_count;
	__u32 port_stride;	/* from one to the next in the order in which they are taken: prime to their number */
	__u32 tunnel_age; /* ticks since a backend came, before which no tunnels lead to it */
	__u16 timeouts[CT_STATES]; /* by state, in ticks */
};
