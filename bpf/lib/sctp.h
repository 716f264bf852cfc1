/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP's checksum, which changes with the ports, is a CRC32c of the whole packet (RFC 9260, 6.8). A
 * CRC is linear, so the checksum changes by the CRC of the difference, which is zero after the
 * first 4 bytes.
 */
#pragma once

#include "packet.h"

#define SCTP_CHECKSUM 8
#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

extern const volatile struct crc32c_powers crc32c_powers;

GLOBAL __u32 shift_by_power(__u32 crc, __u32 power)
{
	__u32 shifted = 0;

	/* The loop has no branch, because the verifier would follow both ways of each. */
	for (__u32 bit = 0; bit < 32; bit++)
		shifted ^= crc32c_powers.bits[(power * 32 + bit) % (CRC32C_POWERS * 32)] &
			   -(crc >> bit & 1);
	return shifted;
}

/* Returns the CRC of a difference in the first 4 bytes, which `zeros` bytes of zero follow. */
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

/*
 * Updates the checksum for the ports of `to`. It does not cover the addresses. Returns 0 on
 * success.
 */
GLOBAL int change_sctp_ports(context *ctx, const struct packet *packet, const struct tuple *to)
{
	__u32 before, after, at, checksum;

	if (!packet || !to)
		return -1;
	before = packet->tuple.source_port | packet->tuple.destination_port << 16;
	after = to->source_port | to->destination_port << 16;
	at = packet->transport + SCTP_CHECKSUM;
	if (before == after)
		return 0;
	/* The first fragment does not have the length of the whole packet. */
	if (packet->fragment || load_bytes(ctx, at, &checksum, sizeof(checksum)))
		return -1;
	if (is_checksum_partial(ctx, at))
		return 0;
	checksum ^= crc_of_change(before ^ after,
				  packet->length - (packet->transport - packet->network) - 4);
	return store_bytes(ctx, at, &checksum, sizeof(checksum));
}
