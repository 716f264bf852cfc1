/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP's checksum, a CRC32c of the whole packet (RFC 9260, 6.8), after a change of the ports. A CRC
 * is linear: the checksum changes by the CRC of the change, which is zero behind the first 4 bytes.
 */
#pragma once

#include "packet.h"

#define SCTP_CHECKSUM 8
#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

extern const volatile struct crc32c_powers crc32c_powers;

GLOBAL __u32 shift_by_power(__u32 crc, __u32 power)
{
	__u32 shifted = 0;

	/* Without a branch, of which the verifier would follow both ways. */
	for (__u32 bit = 0; bit < 32; bit++)
		shifted ^= crc32c_powers.bits[(power * 32 + bit) % (CRC32C_POWERS * 32)] & -(crc >> bit & 1);
	return shifted;
}

/* The CRC of a change of the first 4 bytes, followed by `zeros` bytes of zero. */
GLOBAL __u32 crc_of_change(__u32 change, __u32 zeros)
{
	__u32 crc = change;

	for (int i = 0; i < 32; i++)
		crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
	for (__u32 power = 0; power < CRC32C_POWERS; power++) {
		if (zeros >> power & 1)
			crc = shift_by_power(crc, power);
	}
	return crc;
}
