import { defaultNat, type NatOptions } from '../src/nat/flow-options.ts';

/** In tests all nodes know the services before traffic starts. */
export const testNat: NatOptions = { ...defaultNat, tunnelAfter: 0 };
