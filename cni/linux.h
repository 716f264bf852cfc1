/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a C library would provide: the entry point, system calls, and the constants and structs
 * that the kernel's headers leave to it. The kernel's headers are the same for x86-64 and arm64,
 * apart from the numbers of system calls.
 */
#pragma once

#include <asm/errno.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/socket.h>
#include <linux/fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/uio.h>
#include <linux/un.h>
#include <stdbool.h>
#include <stddef.h>

#define AF_UNIX 1
#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_RAW 3
#define SOCK_CLOEXEC O_CLOEXEC
#define SCM_RIGHTS 1
#define MSG_DONTWAIT 0x40
#define SHUT_WR 1
#define CLONE_NEWNET 0x40000000
#define IFF_UP 1
#define IFNAMSIZ 16

struct msghdr {
	void *name;
	unsigned int name_length;
	struct iovec *parts;
	size_t part_count;
	void *control;
	size_t control_length;
	unsigned int flags;
};

/* The flags of a network interface, for ioctl(). */
struct interface_flags {
	char name[IFNAMSIZ];
	short flags;
	char rest[22];
};

/* A control message that passes one descriptor. */
struct passed_descriptor {
	size_t length;
	int level;
	int type;
	int descriptor;
};

#if defined(__x86_64__)
enum {
	SYS_read = 0,
	SYS_write = 1,
	SYS_rt_sigaction = 13,
	SYS_ioctl = 16,
	SYS_socket = 41,
	SYS_connect = 42,
	SYS_sendmsg = 46,
	SYS_shutdown = 48,
	SYS_setsockopt = 54,
	SYS_clock_gettime = 228,
	SYS_exit_group = 231,
	SYS_openat = 257,
	SYS_ppoll = 271,
	SYS_setns = 308,
};

/* The stack begins with the number of arguments. */
__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call start\n");

static inline long system_call(long number, long a, long b, long c, long d, long e)
{
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum {
	SYS_ioctl = 29,
	SYS_openat = 56,
	SYS_read = 63,
	SYS_write = 64,
	SYS_ppoll = 73,
	SYS_exit_group = 94,
	SYS_clock_gettime = 113,
	SYS_rt_sigaction = 134,
	SYS_socket = 198,
	SYS_connect = 203,
	SYS_setsockopt = 208,
	SYS_shutdown = 210,
	SYS_sendmsg = 211,
	SYS_setns = 268,
};

__asm__(".globl _start\n"
	"_start:\n"
	"	mov x29, xzr\n"
	"	mov x0, sp\n"
	"	bl start\n");

static inline long system_call(long number, long a, long b, long c, long d, long e)
{
	register long call __asm__("x8") = number;
	register long first __asm__("x0") = a;
	register long second __asm__("x1") = b;
	register long third __asm__("x2") = c;
	register long fourth __asm__("x3") = d;
	register long fifth __asm__("x4") = e;

	__asm__ volatile("svc 0"
			 : "+r"(first)
			 : "r"(call), "r"(second), "r"(third), "r"(fourth), "r"(fifth)
			 : "memory");
	return first;
}
#endif

/* System calls return a negative error number when they fail. */
static inline long read(int fd, void *bytes, size_t length)
{
	return system_call(SYS_read, fd, (long)bytes, length, 0, 0);
}

static inline long write(int fd, const void *bytes, size_t length)
{
	return system_call(SYS_write, fd, (long)bytes, length, 0, 0);
}

static inline long open(const char *path, int flags)
{
	/* A file that the call creates is for its owner alone. */
	return system_call(SYS_openat, AT_FDCWD, (long)path, flags, 0600, 0);
}

static inline long poll(struct pollfd *entry, const struct __kernel_timespec *timeout)
{
	return system_call(SYS_ppoll, (long)entry, 1, (long)timeout, 0, sizeof(long));
}

static inline long socket(int family, int type, int protocol)
{
	return system_call(SYS_socket, family, type, protocol, 0, 0);
}

static inline long connect(int fd, const void *address, size_t length)
{
	return system_call(SYS_connect, fd, (long)address, length, 0, 0);
}

static inline long setsockopt(int fd, int level, int option, const void *value, size_t length)
{
	return system_call(SYS_setsockopt, fd, level, option, (long)value, length);
}

static inline long sendmsg(int fd, const struct msghdr *message, int flags)
{
	return system_call(SYS_sendmsg, fd, (long)message, flags, 0, 0);
}

static inline long shutdown(int fd, int direction)
{
	return system_call(SYS_shutdown, fd, direction, 0, 0, 0);
}

static inline long ioctl(int fd, unsigned long request, void *argument)
{
	return system_call(SYS_ioctl, fd, request, (long)argument, 0, 0);
}

static inline long setns(int fd, int kind)
{
	return system_call(SYS_setns, fd, kind, 0, 0, 0);
}

static inline void ignore_signal(int number)
{
	/* The handler, then no flags, restorer and mask. */
	const unsigned long action[4] = { (unsigned long)SIG_IGN };

	system_call(SYS_rt_sigaction, number, (long)action, 0, sizeof(long), 0);
}

static inline long monotonic_ms(void)
{
	struct __kernel_timespec time;

	system_call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&time, 0, 0, 0);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static inline unsigned int boot_seconds(void)
{
	struct __kernel_timespec time;

	system_call(SYS_clock_gettime, CLOCK_BOOTTIME, (long)&time, 0, 0, 0);
	return time.tv_sec;
}

_Noreturn static inline void leave(int status)
{
	for (;;)
		system_call(SYS_exit_group, status, 0, 0, 0, 0);
}

/* The compiler calls these two for structs. */
void *memset(void *target, int byte, size_t length)
{
	volatile char *bytes = target;

	while (length--)
		*bytes++ = byte;
	return target;
}

void *memcpy(void *target, const void *source, size_t length)
{
	volatile char *to = target;
	const char *from = source;

	while (length--)
		*to++ = *from++;
	return target;
}
