/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing that end at a deadline. */
#pragma once

#include "linux.h"
#include "text.h"

/* Bytes of what is read to its end. */
#define LARGEST (1 << 20)

/* Milliseconds of CLOCK_MONOTONIC. */
static long deadline_ms;

/* Waits until the descriptor is ready. Returns false if the deadline passes before that. */
static inline bool wait_for(int fd, short events)
{
	for (;;) {
		long left_ms = deadline_ms - monotonic_ms();
		struct __kernel_timespec left = { left_ms / 1000, left_ms % 1000 * 1000000 };
		struct pollfd entry = { .fd = fd, .events = events };

		if (left_ms <= 0)
			return false;
		if (poll(&entry, &left) > 0)
			return true;
	}
}

/* Returns the meaning of the negative error number that a system call has returned. */
static inline const char *meaning_of(long error)
{
	static char other[] = "error number 000";

	switch (-error) {
	case EACCES:
	case EPERM:
		return "permission denied";
	case EAGAIN:
		return "no answer in time";
	case ECONNREFUSED:
		return "no process listens";
	case ENOENT:
		return "no such file";
	}
	for (size_t at = sizeof(other) - 2; error; error /= 10)
		other[at--] = '0' - error % 10;
	return other;
}

static const char too_large[] = "larger than 1 MiB";

/* Appends what the descriptor has to `text` until its end. Returns NULL or why that failed. */
static inline const char *read_to_end(int fd, struct text *text, char *bytes)
{
	for (;;) {
		long length;

		if (text->length == LARGEST)
			return too_large;
		if (!wait_for(fd, POLLIN))
			return "no end in time";
		length = read(fd, bytes + text->length, LARGEST - text->length);
		if (length == -EINTR || length == -EAGAIN)
			continue;
		if (length < 0)
			return meaning_of(length);
		if (length == 0)
			return NULL;
		text->length += length;
	}
}

/* Sends all bytes, the descriptor with the first of them. Returns a negative error number or 0. */
static inline long send_all(int fd, struct text text, int descriptor)
{
	struct passed_descriptor passed = { sizeof(passed) - 4, SOL_SOCKET, SCM_RIGHTS,
					    descriptor };
	struct iovec part = { (void *)text.bytes, text.length };
	struct msghdr message = { .parts = &part, .part_count = 1 };

	if (descriptor >= 0) {
		message.control = &passed;
		message.control_length = sizeof(passed);
	}
	while (part.iov_len) {
		long sent = sendmsg(fd, &message, MSG_DONTWAIT);

		if (sent == -EAGAIN && !wait_for(fd, POLLOUT))
			return sent;
		if (sent == -EAGAIN || sent == -EINTR)
			continue;
		if (sent < 0)
			return sent;
		part.iov_base += sent;
		part.iov_len -= sent;
		message.control_length = 0;
	}
	return 0;
}
