// These exports serve the other packages of Heddle, in exactly the same version. They are not stable.
export { helperName } from './helpers/index.ts';
export { familyOf } from './host/hooks.ts';
export { createMap } from './maps/create.ts';
export { CopiedMap, ForkedMap, SwappedMap, smallChunk } from './maps/forked-map.ts';
export { VmMap } from './maps/map.ts';
export { ValueMap } from './maps/value-map.ts';
export { Random, seededRandom } from './random.ts';
export { Timers } from './timers.ts';
