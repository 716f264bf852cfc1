/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * These functions validate TCP segments. Only the two ends of a connection know valid sequence and
 * acknowledgement numbers (RFC 9293, 3.10.7; RFC 5961). The windows are tracked as netfilter does
 * it (tcp_in_window in nf_conntrack_proto_tcp.c). An invalid segment does not change its conntrack
 * entry. It is forwarded nevertheless, because the receiver knows better and responds to it (RFC
 * 5961).
 */
#pragma once

#include "table.h"

/* The bits that tcp_track_segment() adds to the flags of a segment. */
#define TCP_INVALID 0x100
#define TCP_CONFIRMS 0x200 /* The segment proves that both sides have agreed on the connection. */

#define SIDE_CLIENT 0
#define SIDE_BACKEND 1

/*
 * The largest distance of an acknowledgement behind the data that the other side has sent (Linux:
 * MAXACKWINCONST).
 */
#define MAX_ACK_WINDOW 66000
/*
 * This is the largest possible window, which a side with an unknown scale may have (RFC 7323, 2.3).
 */
#define MAX_WINDOW_SHIFT 30
#define MAX_WINDOW_SCALE 14
/*
 * The distance that a client's numbers may move back and ahead if its backend's packets do not pass
 * this node.
 */
#define TUNNELLED_SEQ_BEHIND (1 << 16)
#define TUNNELLED_SEQ_AHEAD (1 << 22)

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_SCALE 3
#define TCP_OPTIONS_READ 12
#define TCP_OPTIONS_MAX 40 /* The TCP header has at most 60 bytes (RFC 9293, 3.1). */

struct segment {
	__u32 seq;
	__u32 end; /* the number after the last byte */
	__u32 ack;
	__u32 window; /* not scaled */
};

INLINE int is_after(__u32 one, __u32 other)
{
	return (__s32)(one - other) > 0;
}

/* Returns 1 if a number is within `first` to `last`. */
INLINE int is_within(__u32 number, __u32 first, __u32 last)
{
	return number - first <= last - first;
}

INLINE int read_segment(context *ctx, const struct packet *packet, struct segment *segment)
{
	__u32 words[4];
	__s32 length =
		packet->length - (packet->transport - packet->network) - packet->transport_length;

	if (load_bytes(ctx, packet->transport, words, sizeof(words)))
		return -1;
	segment->seq = bpf_htonl(words[1]);
	segment->ack = bpf_htonl(words[2]);
	segment->window = bpf_htons(words[3] >> 16);
	/* The length field of a packet of more than 64 KiB is zero (BIG TCP). */
	segment->end = segment->seq + (length > 0 ? length : 0) + !!(packet->tcp_flags & TCP_SYN) +
		       !!(packet->tcp_flags & TCP_FIN);
	return 0;
}

/*
 * Returns the window scale of a SYN (RFC 7323); -1: the SYN does not have the option, so neither
 * side scales.
 */
GLOBAL int window_scale(context *ctx, const struct packet *packet)
{
	/*
	 * The zeros after the options read as TCP_OPTION_END, and are room for an option that
	 * begins at the last byte.
	 */
	__u8 options[TCP_OPTIONS_MAX + 4] = {};
	__u32 at = 0, length;

	if (!packet || packet->transport_length < sizeof(struct tcphdr) + 1)
		return -1;
	length = packet->transport_length - sizeof(struct tcphdr);
	/* Linux 6.1 has to see that the length is not 0, as in check_ip_checksum(). */
	barrier_var(length);
	if (length > TCP_OPTIONS_MAX ||
	    load_bytes(ctx, packet->transport + sizeof(struct tcphdr), options, length))
		return -1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < TCP_OPTIONS_READ && at < TCP_OPTIONS_MAX; i++) {
		__u8 kind = options[at], size = options[at + 1], shift = options[at + 2];

		if (kind == TCP_OPTION_SCALE && size >= 2)
			return shift > MAX_WINDOW_SCALE ? MAX_WINDOW_SCALE : shift;
		if (kind == TCP_OPTION_NOP)
			size = 1;
		else if (kind == TCP_OPTION_END || size < 2)
			break;
		at += size;
	}
	return -1;
}

/* Updates the largest window that one side has offered. */
INLINE void widen_window(struct ct_window *window, __u32 side, __u32 offered)
{
	__u32 shift = window->shift[side & 1];

	if (offered <= 1u << (shift & 31))
		return;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_WINDOW_SHIFT; i++) {
		if (shift >= MAX_WINDOW_SHIFT || offered <= 1u << (shift & 31))
			break;
		shift++;
	}
	window->shift[side & 1] = shift;
}

/* Updates the data that one side has sent and acknowledged, and its window. */
INLINE void advance_window(struct ct_window *window, __u32 side, const struct segment *segment,
			   __u32 tcp_flags)
{
	if (is_after(segment->end, window->end[side & 1]))
		window->end[side & 1] = segment->end;
	if (tcp_flags & TCP_ACK && is_after(segment->ack, window->acked[side & 1]))
		window->acked[side & 1] = segment->ack;
	widen_window(window, side, segment->window << (window->scale[side & 1] & 15));
}

/* Returns the largest window that a side has offered, rounded up to a power of two. */
INLINE __u32 max_window(const struct ct_window *window, __u32 side)
{
	return 1u << (window->shift[side & 1] & 31);
}

/* Returns 1 if a segment acknowledges the client's SYN, or the SYN with its data (RFC 7413). */
INLINE int acknowledges_syn(const struct ct_window *window, const struct segment *segment,
			    __u32 tcp_flags)
{
	return !window->shift[SIDE_CLIENT] ||
	       (tcp_flags & TCP_ACK &&
		is_within(segment->ack, window->acked[SIDE_BACKEND], window->end[SIDE_CLIENT]));
}

INLINE int tcp_invalid(enum ct_event event)
{
	ct_count_event(event);
	return TCP_INVALID;
}

/* Validates a SYN. It is valid during the handshake only. */
GLOBAL int tcp_track_syn(context *ctx, const struct packet *packet, __u32 reference,
			 __u32 state_word)
{
	__u32 index = reference / 2, side = reference & 1;
	struct ct_window *window = bpf_map_lookup_elem(&nat_windows, &index);
	enum ct_state state = ct_state_of(state_word);
	struct segment segment;
	int scale;

	if (!window || !packet || read_segment(ctx, packet, &segment))
		return TCP_INVALID;
	if (packet->tcp_flags & TCP_RST || state > CT_TCP_SYN_ACK)
		/*
		 * Not counted for an unconfirmed connection: one side may not have seen the end of
		 * the handshake yet.
		 */
		return state == CT_TCP_ESTABLISHED && state_word & CT_UNCONFIRMED ?
			       TCP_INVALID :
			       tcp_invalid(CT_INVALID_SYN);
	if (side == SIDE_CLIENT && state == CT_TCP_SYN_ACK)
		return TCP_INVALID;
	if (side == SIDE_BACKEND && packet->tcp_flags & TCP_ACK &&
	    !acknowledges_syn(window, &segment, packet->tcp_flags))
		return tcp_invalid(CT_INVALID_ACK);
	scale = window_scale(ctx, packet);
	/*
	 * The scale holds if both sides have the option (RFC 7323, 2.2). The window of a SYN is
	 * never scaled.
	 */
	window->scale[side] = scale < 0 ? 0 : scale;
	if (side == SIDE_BACKEND && scale < 0)
		window->scale[SIDE_CLIENT] = 0;
	window->end[side] = segment.end;
	window->acked[!side] = segment.seq + 1;
	if (side == SIDE_BACKEND && packet->tcp_flags & TCP_ACK)
		window->acked[SIDE_BACKEND] = segment.ack;
	window->shift[side] = 1;
	/* This clears the window of an earlier connection at the same index. */
	if (side == SIDE_CLIENT)
		window->shift[SIDE_BACKEND] = 0;
	widen_window(window, side, segment.window);
	return packet->tcp_flags;
}

/* Returns 1 if a segment without SYN is within the windows of both sides. */
INLINE int is_in_window(const struct ct_window *window, __u32 side, const struct segment *segment,
			__u32 tcp_flags)
{
	__u32 other = !side, offered = max_window(window, other), back = max_window(window, side);

	if (is_after(segment->seq, window->acked[other] + offered) ||
	    is_after(window->end[side] - offered - 1, segment->end))
		return 0;
	if (back < MAX_ACK_WINDOW)
		back = MAX_ACK_WINDOW;
	return !(tcp_flags & TCP_ACK) || !(is_after(segment->ack, window->end[other]) ||
					   is_after(window->end[other] - back, segment->ack));
}

/*
 * Validates a segment of a tunnelled connection by the client's own numbers: the backend's packets
 * are not seen.
 */
INLINE int tcp_track_tunnelled(struct ct_window *window, const struct segment *segment,
			       __u32 tcp_flags, enum ct_state state)
{
	__u32 end = window->end[SIDE_CLIENT];

	if (window->shift[SIDE_CLIENT] &&
	    !is_within(segment->end, end - TUNNELLED_SEQ_BEHIND,
		       tcp_flags & TCP_RST ? end : end + TUNNELLED_SEQ_AHEAD))
		return tcp_invalid(tcp_flags & TCP_RST ? CT_INVALID_RST :
				   tcp_flags & TCP_FIN ? CT_INVALID_FIN :
							 CT_INVALID_ACK);
	if (!window->shift[SIDE_CLIENT] || is_after(segment->end, end))
		window->end[SIDE_CLIENT] = segment->end;
	window->shift[SIDE_CLIENT] = MAX_WINDOW_SHIFT;
	return tcp_flags | (state == CT_TCP_ESTABLISHED ? TCP_CONFIRMS : 0);
}

/*
 * Returns 1 if a reset is valid: it has the number that is expected next (RFC 5961, 3.2), or that
 * follows the data that its sender has sent. In a handshake the backend's reset may acknowledge the
 * SYN instead (RFC 9293, 3.10.7.1).
 */
INLINE int tcp_reset_is_valid(const struct ct_window *window, __u32 side,
			      const struct segment *segment, __u32 tcp_flags, enum ct_state state)
{
	if (side == SIDE_BACKEND && state <= CT_TCP_SYN_ACK &&
	    acknowledges_syn(window, segment, tcp_flags))
		return 1;
	return (state != CT_TCP_SYN || side == SIDE_CLIENT) &&
	       (segment->seq == window->acked[!side] || segment->seq == window->end[side & 1]);
}

/*
 * Validates a TCP segment without SYN of the entry that a reference names, which has that state
 * word. Returns the segment's flags, perhaps with TCP_CONFIRMS; or TCP_INVALID.
 */
GLOBAL int tcp_track_segment(context *ctx, const struct packet *packet, __u32 reference,
			     __u32 state_word)
{
	__u32 index = reference / 2, side = reference & 1, tcp_flags, confirms;
	struct ct_window *window = bpf_map_lookup_elem(&nat_windows, &index);
	enum ct_state state = ct_state_of(state_word);
	struct segment segment;

	if (!window || !packet || packet->fragment == FRAGMENT_LATER)
		return TCP_INVALID;
	tcp_flags = packet->tcp_flags;
	if (read_segment(ctx, packet, &segment))
		return TCP_INVALID;
	if (state_word & CT_TUNNELLED)
		return tcp_track_tunnelled(window, &segment, tcp_flags, state);
	/*
	 * The windows of an entry of an earlier version are unknown until a segment of each side
	 * has been seen.
	 */
	if (state > CT_TCP_SYN_ACK &&
	    (!window->shift[SIDE_CLIENT] || !window->shift[SIDE_BACKEND])) {
		if (!window->shift[side]) {
			window->end[side] = segment.end;
			window->acked[side] = segment.ack;
			window->scale[side] = MAX_WINDOW_SCALE;
			window->shift[side] = MAX_WINDOW_SHIFT;
		}
		return tcp_flags | (side == SIDE_BACKEND ? TCP_CONFIRMS : 0);
	}
	if (tcp_flags & TCP_RST)
		return tcp_reset_is_valid(window, side, &segment, tcp_flags, state) ||
				       !window->shift[SIDE_CLIENT] ?
			       tcp_flags :
			       tcp_invalid(CT_INVALID_RST);
	if (state == CT_TCP_SYN)
		return TCP_INVALID;
	if (state == CT_TCP_SYN_ACK && side == SIDE_CLIENT && window->shift[SIDE_BACKEND] &&
	    !(tcp_flags & TCP_ACK &&
	      is_within(segment.ack, window->acked[SIDE_CLIENT], window->end[SIDE_BACKEND])))
		return tcp_invalid(CT_INVALID_ACK);
	if (window->shift[SIDE_CLIENT] && window->shift[SIDE_BACKEND] &&
	    !is_in_window(window, side, &segment, tcp_flags))
		return tcp_flags & TCP_FIN ? tcp_invalid(CT_INVALID_FIN) : TCP_INVALID;
	/*
	 * A backend that still waits for the end of the handshake may acknowledge the SYN again,
	 * but sends no data.
	 */
	confirms = side == SIDE_BACKEND && state > CT_TCP_SYN_ACK &&
		   (segment.end != segment.seq ||
		    (tcp_flags & TCP_ACK && is_after(segment.ack, window->acked[SIDE_BACKEND])));
	advance_window(window, side, &segment, tcp_flags);
	return tcp_flags | (confirms ? TCP_CONFIRMS : 0);
}
