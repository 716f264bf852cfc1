import { allFeatures } from '@heddle/agent/features';

/** The control methods whose lists a dump has. In its file, an empty list has no record. */
export const dumpedLists: readonly string[] = [
  'events.list',
  ...allFeatures.flatMap(({ dump = [] }) => dump),
];
