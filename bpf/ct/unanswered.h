/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function recognizes connections that the backend has not replied to. */
#pragma once

#include "entry.h"

/* Returns 1 if the backend, or the client after it, has not answered yet. */
INLINE int ct_is_unanswered(enum ct_state state)
{
	return state == CT_TCP_SYN || state == CT_TCP_SYN_ACK || state == CT_UDP_UNANSWERED ||
	       state == CT_SCTP_UNANSWERED || state == CT_ICMP_UNANSWERED;
}
