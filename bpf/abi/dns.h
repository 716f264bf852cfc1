/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules of policies may name hosts. The programs read the answers of name servers on their way to a
 * pod, and remember which addresses the named hosts have, before the pod can connect to them.
 */
#pragma once

#include <linux/types.h>

#define DNS_NAME_BYTES 256

/*
 * Map `policy_names`: the names that rules have, by longest prefix. A name is written backwards and
 * in lower case, so that a prefix is a domain: `*.example.com` is "moc.elpmaxe.", and `example.com`
 * is "moc.elpmaxe" with a byte 0 after it. The control plane merges the rules of wider patterns
 * into those of narrower ones.
 */
struct dns_name_key {
	__u32 prefix_length; /* in bits */
	__u8 reversed[DNS_NAME_BYTES];
};

/* A name of `policy_names` has an index in `name_classes`, which is reused with a new generation. */
struct dns_name {
	__u16 index;
	__u16 generation;
};

/* Map `name_classes`: the class of peers of a name, an index in `peer_vectors`. */
struct dns_name_class {
	__u32 class; /* 0: the place is free */
	__u16 generation;
	__u16 reserved;
};

/*
 * Map `policy_grants`: the names that an address belongs to. The least recently used addresses make
 * room for others.
 */
#define DNS_GRANTS 4

struct dns_grant {
	__u16 index; /* in `name_classes` */
	__u16 generation;
	__u32 expires; /* in seconds of CLOCK_MONOTONIC; 0: the place is free */
};

struct dns_grants {
	struct dns_grant grants[DNS_GRANTS];
};

/* Map `dns_resolvers`: the addresses of name servers whose answers count. The value is unused. */

/* Map `dns_state`: one value. */
struct dns_state {
	__u32 names;	   /* number of entries of `policy_names`; 0: answers are not read */
	__u32 min_seconds; /* An address counts so long at least, whatever the answer says. */
	__u32 max_seconds;
	__u32 reserved;
};

/* Map `dns_events`: per-CPU counters. */
enum dns_event {
	DNS_GRANTED = 0,   /* An address was remembered, or for longer. */
	DNS_MALFORMED = 1, /* An answer for a name of a rule could not be read to its end. */
	DNS_REPLACED = 2,  /* An address has more names than places; the oldest was replaced. */
	DNS_UNCOPIED = 3,  /* An answer was not copied, because there were too many. */
};

#define DNS_EVENTS 4

/*
 * Map `dns_answers`: answers that name servers have sent to pods of this node, written with the
 * setting `visibility` while a reader exists. Nothing has checked the message.
 */
#define DNS_COPY_BYTES 512

struct dns_copy {
	__u8 server[16];
	__u8 client[16];
	__be16 client_port;
	__u16 length; /* of the whole message */
	__u32 reserved;
	__u8 message[DNS_COPY_BYTES]; /* its first bytes */
};
