/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* These functions look up backends. */
#pragma once

#include "maps.h"

INLINE struct backend *backend_by_id(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

/* Returns 1 if a stored reference to a backend of the service is still valid. */
INLINE int is_same_backend(const struct backend *backend, __u32 generation, __u32 service)
{
	return backend && backend->generation == generation && backend->service == service;
}
