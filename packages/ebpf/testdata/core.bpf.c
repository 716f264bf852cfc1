// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Each kind of CO-RE relocation, for kernel types that all versions have, and that none has. */
#include "dialect.h"

struct task_struct___mine {
	int pid;
	int tgid;
	char comm[16];
	int heddle_absent;
} CORE;

/* Bit fields; the kernel's struct has more before them. */
struct tcp_sock {
	u32 snd_cwnd;
	u8 nonagle : 4;
} CORE;

struct iphdr {
	u8 ihl : 4, version : 4;
	u8 tos;
	__be16 tot_len;
} CORE;

struct heddle_absent_struct {
	int field;
} CORE;

struct list_head {
	struct list_head *next, *prev;
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH___mine = 42,
	BPF_MAP_TYPE_HEDDLE_ABSENT = 43,
};

typedef u32 __u32;

/* Read by the test after a run, in the order of the assignments below. */
s64 results[24];

SEC("tc")
int core(void *context)
{
	struct task_struct___mine *task = 0;
	struct iphdr *ip = 0;
	int i = 0;

	results[i++] = FIELD_OFFSET(task->pid);
	results[i++] = FIELD_OFFSET(task->comm[3]);
	results[i++] = FIELD_SIZE(task->comm);
	results[i++] = FIELD_EXISTS(task->tgid);
	results[i++] = FIELD_EXISTS(task->heddle_absent);
	results[i++] = FIELD_SIGNED(task->pid);
	results[i++] = FIELD_OFFSET(ip->version);
	results[i++] = FIELD_SIZE(ip->version);
	results[i++] = FIELD_SIGNED(ip->version);
	results[i++] = FIELD_LSHIFT(ip->version);
	results[i++] = FIELD_RSHIFT(ip->version);
	results[i++] = TYPE_ID_LOCAL(struct list_head);
	results[i++] = TYPE_ID_TARGET(struct list_head);
	results[i++] = TYPE_EXISTS(struct list_head);
	results[i++] = TYPE_EXISTS(struct heddle_absent_struct);
	results[i++] = TYPE_SIZE(struct list_head);
	results[i++] = TYPE_SIZE(struct heddle_absent_struct);
	results[i++] = TYPE_MATCHES(struct list_head);
	results[i++] = TYPE_EXISTS(__u32);
	results[i++] = ENUMERATOR_EXISTS(enum bpf_map_type, BPF_MAP_TYPE_HASH___mine);
	results[i++] = ENUMERATOR_EXISTS(enum bpf_map_type, BPF_MAP_TYPE_HEDDLE_ABSENT);
	results[i++] = ENUMERATOR_VALUE(enum bpf_map_type, BPF_MAP_TYPE_HASH___mine);
	return i;
}

/* Uses what the kernel lacks, where the verifier can see that it never comes to it. */
SEC("tc")
int guarded(void *context)
{
	struct heddle_absent_struct *absent = context;

	if (FIELD_EXISTS(absent->field))
		return absent->field;
	return 5;
}

/* ... and where it can't. */
SEC("tc")
int unguarded(void *context)
{
	struct heddle_absent_struct *absent = context;

	return absent->field;
}

char _license[] SEC("license") = "Dual BSD/GPL";
