// The enums of bpf/abi/policy.h.

export const policyAction = { allow: 1, deny: 2, pass: 3 } as const;
export const subjectFlags = { isolated: 1, closed: 2 } as const;
export const portClass = { other: 0, tcp: 1, udp: 2, sctp: 3, first: 4 } as const;
export const denyResponse = { none: 0, icmp: 1, reset: 2 } as const;
export const noSubject = 0;
export const closedSubject = 1;
