/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All structs that the BPF programs and the control plane share. Addresses have 16 bytes in network
 * byte order; IPv4 is ::ffff:a.b.c.d. Fields of type __be16 are in network byte order, too; all
 * other integers are in the host's. Structs have no hidden padding, because keys are compared byte
 * by byte.
 *
 * Maps are pinned in a folder that is named after CURRENT_ABI, so a change of a layout here is a
 * change of that number. Values only grow at their end, so that an upgrade can copy them into the
 * new layout; keys never change. The names of pinned maps stay as they are for the same reason.
 */
#pragma once

#include "abi/ct.h"
#include "abi/dns.h"
#include "abi/event.h"
#include "abi/node.h"
#include "abi/node_route.h"
#include "abi/pod.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "abi/socket.h"
#include "abi/version.h"
