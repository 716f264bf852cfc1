/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions read names in DNS messages (RFC 1035, 4.1.4). The state of their loops is in a
 * per-CPU value: the verifier follows the callback of bpf_loop() to a fixed point since Linux 6.7,
 * and would follow counters on the stack through all their values.
 */
#pragma once

#include "maps.h"

/* Longer messages are read up to here; most servers send 1,232 bytes at most over UDP. */
#define DNS_MESSAGE_BYTES 4096
#define DNS_HEADER_BYTES 12
#define DNS_NAME_MAX 253 /* as text, without the final dot */
#define DNS_MAX_JUMPS 16
/* The steps of a name: its bytes with the lengths of its labels, and its jumps. */
#define DNS_NAME_STEPS 288

/* The progress of a name. */
struct dns_reader {
	__u32 at;	/* the position of the next byte */
	__u32 after;	/* the position after the name; 0: it is not known yet */
	__u32 in_label; /* bytes left of the label */
	__u32 size;	/* length of the name as text so far */
	__u32 jumps;
	__u32 is_valid; /* 1: the name has ended as it should */
	__u64 hash;	/* of the text */
};

struct dns_scratch {
	__u8 message[DNS_MESSAGE_BYTES];
	__u8 text[DNS_NAME_BYTES]; /* the name that was read last */
	struct dns_name_key key;
	__u32 length; /* of the message */
	struct dns_reader name;
	struct dns_grants first; /* of an address that had none */
	struct dns_name rule;	 /* of the name that was asked for */
	__u64 current;		 /* hash of the name whose addresses count: the end of the chain */
	__u32 next;		 /* the position of the next record */
	__u32 seconds;		 /* the least TTL of the chain */
	__u32 is_valid;		 /* 0: the message could not be read to its end */
};

/* Programs do not interrupt each other on a CPU, so one value for each suffices. */
struct {
	MAP_UINT(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, struct dns_scratch);
} dns_scratch SEC(".maps");

INLINE struct dns_scratch *get_dns_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dns_scratch, &zero);
}

INLINE __u8 dns_byte(const struct dns_scratch *scratch, __u32 at)
{
	return scratch->message[at & (DNS_MESSAGE_BYTES - 1)];
}

INLINE __u16 dns_u16(const struct dns_scratch *scratch, __u32 at)
{
	return dns_byte(scratch, at) << 8 | dns_byte(scratch, at + 1);
}

INLINE __u32 dns_u32(const struct dns_scratch *scratch, __u32 at)
{
	return (__u32)dns_u16(scratch, at) << 16 | dns_u16(scratch, at + 2);
}

/* Appends a byte to the text of the name. Returns 1 if it is too long. */
INLINE int append_to_name(struct dns_scratch *scratch, __u8 byte)
{
	struct dns_reader *name = &scratch->name;

	if (name->size >= DNS_NAME_MAX)
		return 1;
	scratch->text[name->size & (DNS_NAME_BYTES - 1)] = byte;
	name->size++;
	name->hash = (name->hash ^ byte) * 0x9e3779b97f4a7c15ULL;
	name->hash ^= name->hash >> 29;
	return 0;
}

/* Takes the byte of a label. Returns 1 if no name of a rule can have it. */
INLINE int take_label_byte(struct dns_scratch *scratch, __u8 byte)
{
	if (byte >= 'A' && byte <= 'Z')
		byte += 'a' - 'A';
	/* A dot within a label would look like the end of one. */
	if (byte <= ' ' || byte == '.' || byte >= 127)
		return 1;
	scratch->name.in_label--;
	scratch->name.at++;
	return append_to_name(scratch, byte);
}

/* Goes on where a pointer leads: to an earlier name. Returns 1 if it leads nowhere. */
INLINE int follow_pointer(struct dns_scratch *scratch)
{
	struct dns_reader *name = &scratch->name;
	__u32 at = name->at, to = dns_u16(scratch, at) & 0x3fff;

	if (at + 1 >= scratch->length || to < DNS_HEADER_BYTES || to >= at ||
	    ++name->jumps > DNS_MAX_JUMPS)
		return 1;
	if (!name->after)
		name->after = at + 2;
	name->at = to;
	return 0;
}

/* Takes the next step of a name. */
static long dns_name_step(__u32 number, void *unused)
{
	struct dns_scratch *scratch = get_dns_scratch();
	struct dns_reader *name;
	__u8 byte;

	if (!scratch)
		return 1;
	name = &scratch->name;
	if (name->at >= scratch->length)
		return 1;
	byte = dns_byte(scratch, name->at);
	if (name->in_label)
		return take_label_byte(scratch, byte);
	if (byte >= 0xc0)
		return follow_pointer(scratch);
	if (byte > 63)
		return 1;
	if (!byte) {
		if (!name->after)
			name->after = name->at + 1;
		name->is_valid = 1;
		return 1;
	}
	name->in_label = byte;
	name->at++;
	return name->size ? append_to_name(scratch, '.') : 0;
}

/*
 * Reads the name at a position of the message. Returns the position after it; 0: there is no name
 * that a rule could have.
 */
GLOBAL __u32 dns_read_name(__u32 at)
{
	struct dns_scratch *scratch = get_dns_scratch();

	if (!scratch)
		return 0;
	__builtin_memset(&scratch->name, 0, sizeof(scratch->name));
	scratch->name.at = at;
	bpf_loop(DNS_NAME_STEPS, dns_name_step, 0, 0);
	return scratch->name.is_valid ? scratch->name.after : 0;
}

/* Copies a byte of the name to its place in the reversed key. */
static long reverse_name_byte(__u32 number, void *unused)
{
	struct dns_scratch *scratch = get_dns_scratch();
	__u32 size;

	if (!scratch)
		return 1;
	size = scratch->name.size;
	if (number >= size)
		return 1;
	scratch->key.reversed[number & (DNS_NAME_BYTES - 1)] =
		scratch->text[(size - 1 - number) & (DNS_NAME_BYTES - 1)];
	return 0;
}

/* Returns the name of a rule that the name that was read last has; 0: none. */
NOINLINE struct dns_name *find_rule_name(void)
{
	struct dns_scratch *scratch = get_dns_scratch();
	__u32 size;

	if (!scratch || !scratch->name.size)
		return 0;
	size = scratch->name.size & (DNS_NAME_BYTES - 1);
	bpf_loop(size, reverse_name_byte, 0, 0);
	scratch->key.reversed[size] = 0;
	scratch->key.prefix_length = (size + 1) * 8;
	return bpf_map_lookup_elem(&policy_names, &scratch->key);
}
