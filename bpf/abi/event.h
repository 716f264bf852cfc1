/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These counters and events report rejected calls, dropped packets and evicted conntrack entries.
 */
#pragma once

#include "ct.h"
#include "policy.h"

/*
 * Map `refusals`: calls of sockets that were rejected, per CPU, by reason. The numbers are Hubble's
 * drop reasons.
 */
enum refusal_reason {
	REFUSED_INVALID_SOURCE =
		132, /* The socket is bound to a loopback address, and the backend is elsewhere. */
	REFUSED_UNKNOWN_PORT = 151, /* A service has the address, but not the port. */
	REFUSED_NO_BACKEND = 158,   /* The service has no endpoints. */
	REFUSED_SOURCE_RANGE = 177, /* loadBalancerSourceRanges does not include the client. */
};

#define REFUSAL_REASONS 256

/* Map `service_refused`: rejected calls and dropped packets by service. */
struct service_refusal {
	__u32 service; /* id */
	__u32 reason;  /* enum refusal_reason or drop_reason, which use the same numbers */
};

/* Map `drops`: dropped packets, per CPU, by reason. The numbers are Hubble's drop reasons. */
enum drop_reason {
	DROP_INVALID_SOURCE =
		132, /* No packet can have that source address, or arrive here with it. */
	DROP_POLICY_DEFAULT = 133, /* Policies isolate the pod, and no rule allows the packet. */
	DROP_INVALID = 134,   /* A header is truncated or impossible, or its checksum is wrong. */
	DROP_TOO_LARGE = 136, /* The next link's MTU is smaller; the sender gets an ICMP error. */
	/* Masquerading does not support this protocol, as it has no port. */
	DROP_MASQUERADE_PROTOCOL = 137,
	DROP_L3_PROTOCOL = 139, /* The frame of a pod is neither IP nor ARP. */
	DROP_WRITE = 141,	/* The packet could not be changed. */
	DROP_PROTOCOL =
		142, /* A service has the address, but services do not have this protocol. */
	DROP_MULTICAST = 150,	 /* The frame of a pod is not for one host. */
	DROP_UNKNOWN_PORT = 151, /* A service has the address, but not the port. */
	DROP_NOT_LOCAL = 152, /* externalTrafficPolicy is Local, and no endpoint is on this node. */
	DROP_TABLE_FULL =
		155, /* The conntrack table is full, or the entry was evicted a moment ago. */
	DROP_EXTENSION_HEADER = 156, /* The packet has too many IPv6 extension headers. */
	DROP_FRAGMENT = 157,	     /* The first fragment, which has the ports, did not arrive. */
	DROP_NO_BACKEND =
		158,	    /* The service has no endpoints, or the connection's backend is gone. */
	DROP_HORIZON = 162, /* The pod sends more than its egress bandwidth. */
	DROP_NO_FLOW = 163, /* A TCP segment that is no SYN belongs to no known connection. */
	DROP_NO_PORT = 167, /* All SNAT ports towards the backend are taken. */
	DROP_NO_ROUTE = 169,
	DROP_TUNNEL = 170,	 /* The packet of a pod would be taken for a tunnel of the node. */
	DROP_SOURCE_RANGE = 177, /* loadBalancerSourceRanges does not include the client. */
	DROP_POLICY = 181,	 /* A rule of a policy denies the packet. */
	DROP_TTL = 196,
	DROP_RATE_LIMITED = 198, /* The pod sends or receives more than its bandwidth. */
};

/* Map `drop_events`: dropped packets, written while a reader is attached. */
struct drop_event {
	struct tuple tuple;
	enum drop_reason reason;
	__u32 ifindex;
	__u32 length; /* of the frame, in bytes */
	/* Of a network policy: the rule that denied the packet, plus 1; 0: none has allowed it. */
	__u16 rule;
	enum policy_direction direction : 16; /* the one that denied the packet */
};

/* Map `flow_events`: per-CPU counters. */
enum ct_event {
	CT_EVICTED_OLDEST = 0,	/* No share was exceeded. */
	CT_EVICTED_SERVICE = 1, /* The service, or UDP, exceeded its share. */
	CT_EVICTED_SOURCE = 2,	/* The client's address exceeded its share. */
	CT_EVICTED_CLOSED = 3,	/* The connection was closed. */
	CT_EVICTED_PORT = 4,	/* A new connection needed the SNAT port. */
	CT_EVICTED_BUCKET = 5,	/* A new connection needed the slot of the index. */
	CT_INVALID_ACK =
		6, /* The ACK of a handshake acknowledges data that the backend has not sent. */
	CT_INVALID_SYN = 7, /* The SYN belongs to an established connection. */
	CT_INVALID_FIN = 8, /* The FIN is outside the window. */
	CT_INVALID_RST = 9, /* The RST does not have exactly the expected sequence number. */
	CT_UNOBSERVED = 10, /* A connection without policies has no entry: there was no room. */
};

#define CT_EVENTS 16
