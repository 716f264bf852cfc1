/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function finds the pods of this node. */
#pragma once

#include "lib/address.h"
#include "lib/mapped.h"
#include "maps.h"

/* Each object that knows pods defines it. */
extern const volatile struct pod_config pod_config;

/* Returns the place in `pods` that the search for an address begins with. */
INLINE __u32 pod_place(const void *address)
{
	const __u32 *words = address;
	__u32 is_ipv6 = words[0] || words[1] || words[2] != bpf_htonl(0xffff);

	return bpf_htonl(words[3]) * 2 + is_ipv6;
}

/* Returns the pod of this node that has an address, or 0. */
INLINE struct pod *find_local_pod(const void *address)
{
	__u32 first = pod_place(address);

	if (!pod_config.enabled)
		return 0;
	for (__u32 i = 0; i < POD_PROBES; i++) {
		__u32 place = (first + 2 * i) & (pod_config.places - 1);
		struct pod *pod = bpf_map_lookup_elem(&pods, &place);
		const __u32 *words;

		if (!pod)
			return 0;
		if (same_address(pod->address, address))
			return pod->ifindex ? pod : 0;
		words = (const __u32 *)pod->address;
		if (!words[0] && !words[2])
			return 0; /* The place never had an entry. */
	}
	return 0;
}
