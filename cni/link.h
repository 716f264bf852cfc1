/* SPDX-License-Identifier: Apache-2.0 */
/* Network interfaces: the names of pod interfaces, and changes. */
#pragma once

#include "linux.h"

/*
 * Stores the name of a pod's interface: `hd` and the lowest 52 bits of FNV-1a over the container's
 * id, a slash, and the name of the interface in the pod. The agent computes the same.
 */
static inline void name_pod_interface(char name[IFNAMSIZ], const char *container,
				      const char *interface)
{
	const char *parts[] = { container, "/", interface };
	unsigned long hash = 0xcbf29ce484222325;

	for (int i = 0; i < 3; i++)
		for (const char *byte = parts[i]; *byte; byte++)
			hash = (hash ^ (unsigned char)*byte) * 0x100000001b3;
	name[0] = 'h';
	name[1] = 'd';
	for (int at = IFNAMSIZ - 2; at >= 2; at--, hash >>= 4)
		name[at] = "0123456789abcdef"[hash & 15];
}

/* Deletes the network interface of this name. Returns a negative error number or 0. */
static inline long delete_link(const char name[IFNAMSIZ])
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct nlattr attribute;
		char name[IFNAMSIZ];
	} request = {
		.header = { sizeof(request), RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK },
		.attribute = { NLA_HDRLEN + IFNAMSIZ, IFLA_IFNAME },
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr result;
	} reply = {};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	long result;

	if (fd < 0)
		return fd;
	memcpy(request.name, name, IFNAMSIZ);
	do
		result = write(fd, &request, sizeof(request));
	while (result == -EINTR);
	if (result < 0)
		return result;
	/* The kernel has replied when write() returns. */
	result = read(fd, &reply, sizeof(reply));
	return result < 0 ? result : reply.result.error;
}

/*
 * Sets the loopback interface of the network namespace up, or, if `up` is false, returns -ENETDOWN
 * if it is down. The process stays in the namespace. Returns a negative error number or 0.
 */
static inline long set_loopback(const char *netns, bool up)
{
	struct interface_flags loopback = { "lo" };
	int namespace = open(netns, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	long error = namespace < 0 ? namespace : setns(namespace, CLONE_NEWNET);
	int fd = error ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (error || fd < 0)
		return error ?: fd;
	error = ioctl(fd, SIOCGIFFLAGS, &loopback);
	if (error || loopback.flags & IFF_UP)
		return error;
	if (!up)
		return -ENETDOWN;
	loopback.flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &loopback);
}
