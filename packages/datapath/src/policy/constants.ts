// The constants of bpf/abi/policy.h that no type carries.

export const subjectFlags = { isolated: 1, closed: 2 } as const;
export const noSubject = 0;
export const closedSubject = 1;
