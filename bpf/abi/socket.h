/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These structs are the state of sockets whose addresses are translated, and the options of
 * socket.bpf.c.
 */
#pragma once

#include "version.h"

#include <linux/types.h>

/* An origin is a frontend, and the backend that was chosen for it. */
struct origin {
	__u8 frontend[16];
	__u8 backend_address[16];
	__be16 frontend_port;
	__be16 backend_port;
	/* id; 0: the socket itself chose the address, which may be a service's without backends */
	__u32 backend;
	__u32 generation;
	__u32 service;
};

/*
 * Map `connections`: per socket, the target of the last connect(). The socket's own peer shows
 * whether that connect() succeeded.
 */
struct connection {
	struct origin origin;
	__u32 counted; /* 1: the connection counts in backend_stats.active */
	__u32 reserved;
};

/* Map `flows`: per UDP socket, the other peers that its datagrams were sent to. */
#define UDP_PEERS_PER_SOCKET 16

enum reply {
	REPLY_NONE = 0,
	REPLY_AWAITED = 1,
	REPLY_WAS_CONNECTED = 2, /* the socket was connected to the peer */
};

struct udp_peer {
	struct origin origin;
	/* The number of the last datagram to this peer, counted over all peers of the socket. */
	__u32 sent;
	enum reply reply;
};

struct udp_peers {
	__u32 count;
	__u32 sent;
	__u32 reserved[2];
	struct udp_peer peers[UDP_PEERS_PER_SOCKET];
};

/* This record reports a socket whose backend is gone; see stale.bpf.c. */
struct stale_socket {
	__u64 cookie;	/* the socket's cookie, which sock_diag uses, too */
	__u32 netns;	/* inode number of the socket's network namespace */
	__be16 port;	/* of the backend */
	__u16 protocol; /* IPPROTO_* */
};

/*
 * The values are offsets, in bytes, of the fields that socket/client.h reads in the kernel's
 * structs. They are constants instead of CO-RE relocations, so that the programs have the same
 * instructions, and so the same tag, on all kernels.
 */
struct kernel_fields {
	__u32 known;	      /* 0: the kernel's memory cannot be read */
	__u32 context_socket; /* bpf_sock_addr_kern.sk */
	__u32 socket_net;     /* sock.__sk_common.skc_net */
	__u32 net_devices;    /* net.dev_base_head */
	__u32 device_list;    /* net_device.dev_list */
	__u32 device_flags;   /* net_device.flags */
	__u32 device_ipv4;    /* net_device.ip_ptr */
	__u32 device_ipv6;    /* net_device.ip6_ptr */
	__u32 ipv4_addresses; /* in_device.ifa_list */
	__u32 ipv4_next;      /* in_ifaddr.ifa_next */
	__u32 ipv4_address;   /* in_ifaddr.ifa_local */
	__u32 ipv4_scope;     /* in_ifaddr.ifa_scope */
	__u32 ipv6_addresses; /* inet6_dev.addr_list */
	__u32 ipv6_list;      /* inet6_ifaddr.if_list */
	__u32 ipv6_address;   /* inet6_ifaddr.addr */
	__u32 ipv6_scope;     /* inet6_ifaddr.scope */
};

/* The options of socket.bpf.c, set before it is loaded. */
struct socket_config {
	__u64 node_netns_cookie; /* cookie of the node's own network namespace */
	enum heddle_abi abi;	 /* for tools that inspect the map */
	__u16 local_cubic;	 /* 1: cubic in place of BBR towards pods of this node */
	__u16 node_only;	 /* 1: packets of pods are translated instead of their sockets */
	struct kernel_fields kernel;
};
