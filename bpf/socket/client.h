/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions find the source address of a socket. A socket that connects usually has none yet:
 * the kernel chooses it by the route, after the hooks. Only frontends with source ranges need it,
 * because it takes some ten reads of kernel memory.
 *
 * A process that may change the addresses of its network namespace (CAP_NET_ADMIN) can circumvent
 * this; such a process can also send packets with any source address.
 */
#pragma once

#include "lib/address.h"
#include "lib/mapped.h"
#include "maps.h"

extern const volatile struct socket_config config;

/* The most interfaces of a namespace, and the most addresses of an interface, that are read. */
#define CLIENT_DEVICES 16
#define CLIENT_ADDRESSES 8

/* IFF_* of <linux/if.h> */
#define DEVICE_UP 1
#define DEVICE_LOOPBACK 8

/* Reads a field of a kernel struct. A read that fails leaves zero, which ends the search. */
#define READ(to, of, field) \
	bpf_probe_read_kernel(&(to), sizeof(to), (const void *)(of) + config.kernel.field)

/* Returns the first global IPv4 address of an interface; 0: it has none. */
GLOBAL __u32 interface_ipv4(__u64 device)
{
	__u64 settings = 0, each = 0;

	READ(settings, device, device_ipv4);
	if (settings)
		READ(each, settings, ipv4_addresses);
	for (int i = 0; i < CLIENT_ADDRESSES && each; i++) {
		__u8 scope = 1;
		__be32 address = 0;

		READ(scope, each, ipv4_scope);
		READ(address, each, ipv4_address);
		if (!scope) /* RT_SCOPE_UNIVERSE */
			return address;
		READ(each, each, ipv4_next);
	}
	return 0;
}

/*
 * Finds the oldest global IPv6 address of an interface; the kernel's list has the newest first
 * (ipv6_link_dev_addr). Returns 0 if there is none.
 */
GLOBAL int interface_ipv6(__u64 device, struct address_key *address)
{
	__u64 settings = 0, head, node = 0, found = 0;

	if (!address)
		return 0;
	READ(settings, device, device_ipv6);
	if (!settings)
		return 0;
	head = settings + config.kernel.ipv6_addresses;
	bpf_probe_read_kernel(&node, sizeof(node), (const void *)head);
	for (int i = 0; i < CLIENT_ADDRESSES && node && node != head; i++) {
		__u64 each = node - config.kernel.ipv6_list;
		__u16 scope = 1;

		READ(scope, each, ipv6_scope);
		if (!scope) /* global, as in ipv6_addr_scope() */
			found = each + config.kernel.ipv6_address;
		bpf_probe_read_kernel(&node, sizeof(node), (const void *)node);
	}
	return found && !bpf_probe_read_kernel(address, 16, (const void *)found);
}

/*
 * Finds the first global address of the first interface in the socket's network namespace. Returns
 * 0 if there is none.
 */
INLINE int find_pod_address(struct bpf_sock_addr *ctx, int ipv4, void *address)
{
	__u64 socket = 0, net = 0, head, node = 0;

	if (!config.kernel.known)
		return 0;
	READ(socket, ctx, context_socket);
	READ(net, socket, socket_net);
	if (!net)
		return 0;
	head = net + config.kernel.net_devices;
	bpf_probe_read_kernel(&node, sizeof(node), (const void *)head);
	for (int i = 0; i < CLIENT_DEVICES && node && node != head; i++) {
		__u64 device = node - config.kernel.device_list;
		__u32 flags = 0;

		READ(flags, device, device_flags);
		if (flags & DEVICE_UP && !(flags & DEVICE_LOOPBACK)) {
			if (ipv4) {
				__be32 found = interface_ipv4(device);

				map_ipv4(address, found);
				if (found)
					return 1;
			} else if (interface_ipv6(device, address)) {
				return 1;
			}
		}
		bpf_probe_read_kernel(&node, sizeof(node), (const void *)node);
	}
	return 0;
}

/*
 * Finds the node's preferred address, which stands for all processes of the node. Returns 0 if it
 * is unknown.
 */
INLINE int find_node_address(int ipv4, void *address)
{
	__u32 zero = 0, index;
	struct ct_table *table = bpf_map_lookup_elem(&nat_table, &zero);
	struct snat_address *source;

	if (!table)
		return 0;
	index = ipv4 ? table->source_ipv4 : table->source_ipv6;
	source = bpf_map_lookup_elem(&nat_sources, &index);
	if (!index || !source)
		return 0;
	copy_address(address, source->address);
	return 1;
}

/*
 * Finds the source address of a socket for a destination of that family. Returns 0 if it is
 * unknown.
 */
INLINE int find_socket_source(struct bpf_sock_addr *ctx, int ipv4, void *address)
{
	struct bpf_sock *socket = ctx->sk;
	__u32 *words = address;

	if (!socket)
		return 0;
	if (ipv4) {
		map_ipv4(address, socket->src_ip4);
		if (words[3])
			return 1;
	} else {
		words[0] = socket->src_ip6[0];
		words[1] = socket->src_ip6[1];
		words[2] = socket->src_ip6[2];
		words[3] = socket->src_ip6[3];
		if (words[0] | words[1] | words[2] | words[3])
			return 1;
	}
	return bpf_get_netns_cookie(ctx) == config.node_netns_cookie ?
		       find_node_address(ipv4, address) :
		       find_pod_address(ctx, ipv4, address);
}
