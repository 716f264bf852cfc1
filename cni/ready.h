/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of the last time at which the agent has reported that it can connect pods. While the
 * agent restarts, its node stays ready by this record. It lies beside the agent's socket, and
 * counts only in the boot in which it was written. CLOCK_BOOTTIME is never set and goes on while
 * the machine is suspended.
 */
#pragma once

#include "linux.h"
#include "text.h"

/* Seconds for which the record counts. */
#define READY_SECONDS 60

struct ready_record {
	/* The bytes of /proc/sys/kernel/random/boot_id. */
	char boot_id[36];
	/* The seconds of CLOCK_BOOTTIME. */
	unsigned int seconds;
};

/* Opens the record of the agent with this socket. Returns a negative error number on failure. */
static inline int open_ready(struct text socket_path, int flags)
{
	static const char ending[] = ".ready";
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(ending)] = {};

	if (socket_path.length > sizeof(path) - sizeof(ending))
		return -ENAMETOOLONG;
	memcpy(path, socket_path.bytes, socket_path.length);
	memcpy(path + socket_path.length, ending, sizeof(ending));
	return open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

/* Fills a record of the present. Returns false if the boot has no identity. */
static inline bool read_present(struct ready_record *record)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	record->seconds = boot_seconds();
	return fd >= 0 &&
	       read(fd, record->boot_id, sizeof(record->boot_id)) == sizeof(record->boot_id);
}

/* Writes the record. Without it, as on a full disk, a restart of the agent is visible. */
static inline void remember_ready(struct text socket_path)
{
	struct ready_record record;
	int fd;

	if (!read_present(&record))
		return;
	fd = open_ready(socket_path, O_WRONLY | O_CREAT);
	if (fd >= 0)
		write(fd, &record, sizeof(record));
}

/* Empties the record, if there is one. */
static inline void forget_ready(struct text socket_path)
{
	open_ready(socket_path, O_WRONLY | O_TRUNC);
}

/* Returns true if the record was written less than READY_SECONDS ago. */
static inline bool was_ready(struct text socket_path)
{
	struct ready_record record, present;
	int fd = open_ready(socket_path, O_RDONLY);

	if (fd < 0 || read(fd, &record, sizeof(record)) != sizeof(record))
		return false;
	if (!read_present(&present) || present.seconds - record.seconds >= READY_SECONDS)
		return false;
	for (size_t i = 0; i < sizeof(record.boot_id); i++)
		if (record.boot_id[i] != present.boot_id[i])
			return false;
	return true;
}
