/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions read the state of network policies, and the subjects of pods. */
#pragma once

#include "abi/pod.h"
#include "maps.h"

INLINE struct policy_state *get_policy_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&policy_state, &zero);
}

/*
 * Returns 1 if policies select the pod in either direction. Both directions of its connections are
 * tracked then, because replies of a connection that is allowed pass.
 */
INLINE int has_subject(const struct pod *pod)
{
	return pod->egress_subject || pod->ingress_subject;
}
