// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Something of everything that the reader of object files has to understand. */
#include "dialect.h"

struct packet_key {
	__be32 address;
	__be16 port;
	u8 protocol;
	u8 reserved;
};

struct packet_count {
	u64 packets;
	u64 bytes;
};

struct {
	MAP_UINT(type, 1); /* hash */
	MAP_TYPE(key, struct packet_key);
	MAP_TYPE(value, struct packet_count);
	MAP_UINT(max_entries, 1024);
	MAP_UINT(map_flags, 1); /* no preallocation */
	MAP_UINT(pinning, 1);
} counts SEC(".maps");

struct {
	MAP_UINT(type, 30); /* bloom filter */
	MAP_UINT(value_size, 8);
	MAP_UINT(max_entries, 16);
	MAP_ULONG(map_extra, 0x3);
} seen SEC(".maps");

struct {
	MAP_UINT(type, 27); /* ring buffer */
	MAP_UINT(max_entries, 4096);
} events SEC(".maps");

struct inner {
	MAP_UINT(type, 2); /* array */
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
	MAP_UINT(max_entries, 4);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	MAP_UINT(type, 12); /* array of maps */
	MAP_UINT(key_size, 4);
	MAP_UINT(max_entries, 3);
	MAP_ARRAY(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &inner_a, [2] = &inner_b } };

int second(void *context);

struct {
	MAP_UINT(type, 3); /* program array */
	MAP_UINT(key_size, 4);
	MAP_UINT(max_entries, 2);
	MAP_ARRAY(values, int(void *));
} jumps SEC(".maps") = { .values = { [1] = &second } };

struct settings {
	u32 enabled;
	u32 step;
};

const volatile struct settings settings SEC(".rodata.config") = { .enabled = 1, .step = 2 };
const volatile u32 factor = 3;
int started = 7;
u64 total;
static u32 calls;

/* The kernel may lack the weak ones. */
extern void bpf_rcu_read_lock(void) KSYM WEAK;
extern void bpf_rcu_read_unlock(void) KSYM WEAK;
extern int heddle_absent_function(void *, int) KSYM WEAK;
extern const void heddle_absent_symbol KSYM WEAK;
extern const void init_net KSYM;

static int add(u32 index, void *context)
{
	*(u64 *)context += index;
	calls++;
	return 0;
}

static NOINLINE u64 sum(u32 count)
{
	u64 result = 0;

	loop(count, add, &result, 0);
	return result;
}

NOINLINE int scaled(int value)
{
	return value * factor;
}

HIDDEN NOINLINE int hidden(int *value)
{
	return *value + started;
}

SEC("tc")
int first(void *context)
{
	u32 zero = 0;
	int base = settings.step;

	if (!settings.enabled)
		return 0;
	if (&heddle_absent_symbol)
		return -1;
	if (heddle_absent_function)
		heddle_absent_function(context, 1);
	if (bpf_rcu_read_lock && bpf_rcu_read_unlock) {
		bpf_rcu_read_lock();
		bpf_rcu_read_unlock();
	}
	total += sum(4) + scaled(base) + hidden(&base);
	if (map_lookup_elem(&outer, &zero))
		tail_call(context, &jumps, 1);
	return total;
}

SEC("tc")
int second(void *context)
{
	struct packet_key key = { .protocol = 6 };
	struct packet_count *count = map_lookup_elem(&counts, &key);

	if (count)
		count->packets++;
	return 2 * scaled(started) + calls;
}

SEC("xdp.frags")
int third(void *context)
{
	return (u64)&init_net > 1 ? 2 : 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
