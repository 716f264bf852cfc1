// The constants of bpf/abi/policy.h that no type carries.

import type { DenyResponse } from '@heddle/objects';
import { type PolicyDenyResponse, policyDenyResponse } from '../generated/abi.ts';

export const subjectFlags = { isolated: 1, closed: 2 } as const;
/** The place of the response in the flags of a subject. */
export const responseShift = 2;
export const noSubject = 0;
export const closedSubject = 1;

/** Returns a response as `policy_state` has it. */
export function responseCode(response: DenyResponse): PolicyDenyResponse {
  return policyDenyResponse[response === 'none' ? 'silent' : response];
}

/** Returns the response of a rule or a subject; 0: that of `policy_state`. */
export function ownResponseCode(response: DenyResponse | undefined): number {
  return response === undefined ? 0 : responseCode(response) + 1;
}
