/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This function finds the interfaces of the pods of this node. */
#pragma once

#include "maps.h"

extern const volatile struct pod_config pod_config;

/* Returns the pod interface with that index, or 0. */
INLINE struct pod_device *find_pod_device(__u32 ifindex)
{
	if (!pod_config.enabled)
		return 0;
	for (__u32 i = 0; i < POD_PROBES; i++) {
		__u32 place = (ifindex + i) & (pod_config.device_places - 1);
		struct pod_device *device = bpf_map_lookup_elem(&pod_devices, &place);

		if (!device)
			return 0;
		if (device->ifindex == ifindex)
			return device;
	}
	return 0;
}
