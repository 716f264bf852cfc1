// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Structs of every shape that the bindings generator knows. */
#include "dialect.h"

enum backend_state {
	BACKEND_GONE = 0,
	BACKEND_ACTIVE = 1,
	BACKEND_DRAINING_SLOWLY = 200,
};

enum signed_number {
	NUMBER_MINUS_ONE = -1,
	NUMBER_ONE = 1,
};

enum large_flag {
	FLAG_SMALL = 1,
	FLAG_LARGE = 0x100000000,
};

struct endpoint {
	u8 address[16];
	__be16 port;
	u8 protocol;
	/* one byte of padding */
	u32 zone;
};

struct everything {
	u8 tiny;
	s64 wide_signed; /* seven bytes of padding before it */
	__be32 network_word;
	__be64 network_long;
	_Bool flag;
	signed char small_signed;
	short half_signed;
	enum backend_state state : 8;
	enum backend_state full_state;
	enum signed_number number;
	enum large_flag large;
	struct endpoint nested;
	struct endpoint list[2];
	u32 words[3];
	u64 longs[2];
	__be16 ports[2];
	u16 grid[2][3];
	char text[5];
	union {
		u32 number;
		u8 bytes[6];
	} either;
	void *pointer;
	struct {
		u16 first, second;
	} pair;
	struct {
		u32 inlined;
	};
	u8 last;
};

struct {
	MAP_UINT(type, 1);
	MAP_TYPE(key, struct endpoint);
	MAP_TYPE(value, struct everything);
	MAP_UINT(max_entries, 8);
} things SEC(".maps");

char _license[] SEC("license") = "Dual BSD/GPL";
