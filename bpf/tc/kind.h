/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function distinguishes packets of connections from others. */
#pragma once

#include "lib/packet.h"

/* Returns 1 if packets of that kind belong to connections: they have ports, or an identifier. */
INLINE int has_connection(enum packet_kind kind)
{
	return kind == PACKET_L4 || kind == PACKET_ICMP_ECHO || kind == PACKET_ICMP_ECHO_REPLY;
}
