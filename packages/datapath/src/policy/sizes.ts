/** The sizes of the maps of network policies where the options have none. */
export const defaultPolicySizes = {
  policySubjects: 1024,
  policyPeers: 131_072,
  policyRanges: 65_536,
  policyPeerClasses: 4096,
  policyNames: 1024,
  policyGrants: 65_536,
  policyPortClasses: 2048,
} as const;
