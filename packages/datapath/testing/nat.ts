import { defaultNat, type NatOptions } from '../src/nat/flow-options.ts';

/** All nodes of a test know its services before somebody asks for them. */
export const testNat: NatOptions = { ...defaultNat, tunnelAfter: 0 };
