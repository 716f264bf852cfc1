// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs of many sections. */
#include "dialect.h"

#define PROGRAM(name, section)               \
	SEC(section) int name(void *context) \
	{                                    \
		return 1;                    \
	}

PROGRAM(connect4, "cgroup/connect4")
PROGRAM(connect6, "cgroup/connect6")
PROGRAM(recvmsg4, "cgroup/recvmsg4")
PROGRAM(getpeername6, "cgroup/getpeername6")
PROGRAM(post_bind4, "cgroup/post_bind4")
PROGRAM(sock_release, "cgroup/sock_release")
PROGRAM(egress, "cgroup_skb/egress")
PROGRAM(tcx, "tcx/ingress")
PROGRAM(netkit, "netkit/peer")
PROGRAM(frags, "xdp.frags")
PROGRAM(iter_tcp, "iter/tcp")
PROGRAM(iter_sleepable, "iter.s/task")
PROGRAM(lookup, "sk_lookup")
PROGRAM(traced, "tp_btf/inet_sock_set_state")
PROGRAM(optional, "?tc")
PROGRAM(unknown, "what/ever")
