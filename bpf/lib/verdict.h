/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Each step of the datapath returns a verdict. */
#pragma once

#include "abi/event.h"

/*
 * The numbers from V_DROP_BASE on are an enum drop_reason: the packet is dropped for that reason. A
 * step that returns anything but V_OK has not changed the packet.
 */
enum verdict {
	V_OK = 0,     /* Continue with the next step. */
	V_PASS = 1,   /* The packet is not for Heddle: the next program or the stack handles it. */
	V_NEW = 2,    /* The packet belongs to no connection. */
	V_EXISTS = 3, /* Another CPU has just created an entry of the same tuple. */
	V_STALE =
		4, /* The backend that was read belongs to another service by now: select again. */
	V_TUNNEL = 5, /* The packet leaves in a tunnel as it is. */
	V_DROP_BASE = 128,
};

#define V_DROP(reason) ((enum verdict)(reason))

_Static_assert(DROP_INVALID_SOURCE >= V_DROP_BASE, "a drop reason is no other verdict");
