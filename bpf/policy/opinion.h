/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#include <linux/types.h>

/* What an entry of the conntrack table keeps of a verdict; see struct ct_window. */
struct policy_opinion {
	__u32 epoch;
	__u16 egress_rule;
	__u16 ingress_rule;
};
