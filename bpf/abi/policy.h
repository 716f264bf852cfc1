/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Network policy by intersected bit vectors (Lakshman and Stiliadis 1998, aggregated as by Baboescu
 * and Varghese 2001). Each rule that applies to a pod of this node has a number, which is its bit
 * in three vectors: a peer vector has the rules that name a class of addresses as their peer, a
 * port vector those that name a class of ports, and a subject has those of the policies that select
 * a pod, in one direction. The lowest bit that all three have is the rule that decides. So memory
 * is the sum of pods, peers and ports, never their product.
 *
 * The control plane never changes a rule in use: it writes the bits of new rules, which no subject
 * has yet, then a new subject, and then switches the pod to it by one write. It reuses a number, a
 * class or a subject 100 ms after the last reference to it, when no program can still read it.
 */
#pragma once

#include "ct.h"

#define POLICY_WORDS 64
#define POLICY_RULES (64 * POLICY_WORDS)

/* A set of rules. */
struct policy_vector {
	__u64 summary; /* bit n: words[n] is not 0 */
	__u64 words[POLICY_WORDS];
};

/*
 * The rules are in the order of precedence. The rules of the tier Admin have the first words,
 * NetworkPolicies those from policy_state.network_word on, and the tier Baseline those from
 * baseline_word on. No word has rules of two tiers.
 */
enum policy_action {
	POLICY_ALLOW = 1,
	POLICY_DENY = 2,
	POLICY_PASS = 3, /* The search goes on in the next tier. Rules of the tier Admin only. */
};

/* Whether and how the sender of a denied packet is informed. */
enum policy_deny_response {
	DENY_SILENT = 0,
	DENY_ICMP = 1,	/* ICMP "administratively prohibited" */
	DENY_RESET = 2, /* a TCP reset; ICMP for other protocols */
};

/* Map `policy_rules`, by the rule's number. */
struct policy_rule {
	__u64 connections; /* number of connections that the rule has decided, not of packets */
	enum policy_action action : 16; /* 0: the number is free */
	/* To what the rule denies: an enum policy_deny_response, plus 1; 0: that of policy_state. */
	__u16 response;
	__u32 policy; /* a number of the control plane; equal for all rules of a policy */
};

enum policy_subject_flags {
	/* NetworkPolicies select the pod: what none of their rules allows is denied. */
	SUBJECT_ISOLATED = 1,
	/* A policy of the pod is not programmed, so everything is denied. */
	SUBJECT_CLOSED = 2,
	/* Two bits have the response to what is denied by default, in the form that rules have. */
	SUBJECT_RESPONSE_SHIFT = 2,
	SUBJECT_RESPONSE_MASK = 3,
};

/*
 * Map `policy_subjects`: the rules of the policies that select a pod, in one direction. Pods that
 * the same policies select share one. Index 0 is never used, and 1 is SUBJECT_CLOSED always.
 */
#define POLICY_NO_SUBJECT 0
#define POLICY_CLOSED_SUBJECT 1

struct policy_subject {
	struct policy_vector rules;
	__u32 flags; /* enum policy_subject_flags */
	/*
	 * The subject with the policies in audit mode, too, whose denials are reported only; 0:
	 * there are none.
	 */
	__u32 audit;
	__u64 default_denied; /* number of connections that no rule has allowed */
	__u64 reserved;
};

/*
 * Map `policy_peers`: the class of an address, the index of its vector in `peer_vectors`.
 * Map `policy_ranges`: the same by the longest prefix (struct range_key), for addresses that
 * `policy_peers` does not have. The control plane merges the rules of wider prefixes into those of
 * narrower ones and of addresses, so that one vector suffices. An address in neither map has the
 * class 0, whose vector has the rules that name no peers, and therefore match all.
 *
 * Map `policy_ports`: the classes of the ports of TCP, UDP and SCTP, in this order, four to a word;
 * see policy_port_word(). Class 0 stands for any other port of the protocol.
 * Map `port_vectors`: the vectors of the classes of ports. The first ones are fixed.
 */
enum policy_port_class {
	POLICY_PORTS_OTHER = 0, /* protocols without ports: the rules that name no protocol */
	POLICY_PORTS_TCP = 1,	/* TCP ports that no rule names */
	POLICY_PORTS_UDP = 2,
	POLICY_PORTS_SCTP = 3,
	POLICY_PORTS_FIRST = 4, /* the first class of named ports */
};

#define POLICY_PORT_WORDS (3 * 65536 / 4)

/* Map `policy_state`: one value. */
struct policy_state {
	/*
	 * The control plane increments it after each change, and never sets it to 0. A connection
	 * that was decided in an earlier epoch is decided again at its next packet.
	 */
	__u32 epoch;				 /* 0: there has never been a policy */
	__u16 network_word;			 /* the first word of NetworkPolicies */
	__u16 baseline_word;			 /* the first word of the tier Baseline */
	__u32 keeps_open;			 /* 1: open connections are not decided again */
	enum policy_deny_response deny_response; /* where rules and subjects have none */
	__u32 watched;				 /* 1: a reader of policy_verdicts exists */
	__u32 reserved[3];
};

enum policy_direction {
	POLICY_EGRESS = 0,
	POLICY_INGRESS = 1,
};

enum policy_outcome {
	POLICY_ALLOWED = 1,
	POLICY_DENIED = 2,
	POLICY_WOULD_DENY = 3, /* a policy in audit mode would deny the connection */
};

/*
 * Map `policy_verdicts`: decisions about connections, written while a reader is attached. The tuple
 * has the pods' own addresses, after the translation of services.
 */
struct policy_verdict {
	struct tuple tuple;
	__u32 ifindex; /* where the packet was seen */
	enum policy_outcome outcome : 16;
	enum policy_direction direction : 16; /* the one that denied; of an allowed one: 0 */
	/* The rule in each direction, plus 1; 0: none, as nothing applies or by default. */
	__u16 egress_rule;
	__u16 ingress_rule;
	__u32 subject; /* the subject that denied; 0: allowed */
};
