import fc from 'fast-check';
import type { Flags } from './flow-model.ts';
import type { Event } from './flow-stage.ts';

/** What TCP says, each as likely as it helps to get somewhere. */
const flags: fc.Arbitrary<Flags> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Flags>({ syn: true }) },
  { weight: 4, arbitrary: fc.constant<Flags>({ ack: true }) },
  { weight: 3, arbitrary: fc.constant<Flags>({ syn: true, ack: true }) },
  { weight: 3, arbitrary: fc.constant<Flags>({ fin: true, ack: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ fin: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ syn: true, fin: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ rst: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ rst: true, ack: true }) },
);

const some = fc.nat({ max: 999 });

const client = fc.record({
  kind: fc.constant('client' as const),
  client: some,
  port: fc.nat({ max: 3 }),
  service: some,
  flags: fc.oneof(fc.constant<Flags>({ syn: true }), flags),
});
const known = fc.record({
  kind: fc.constant('known' as const),
  flow: some,
  isReply: fc.boolean(),
  flags,
});
const late = fc.record({
  kind: fc.constant('late' as const),
  flow: some,
  isReply: fc.boolean(),
  flags,
});
const backend = fc.record({
  kind: fc.constant('backend' as const),
  service: some,
  backend: some,
  state: fc.constantFrom('active' as const, 'draining' as const, 'gone' as const),
});
/** Less than a sweep, a few, some seconds, and longer than each of the timeouts in turn. */
const wait = fc.record({
  kind: fc.constant('wait' as const),
  milliseconds: fc.constantFrom(20, 70, 300, 1100, 4000, 9000, 16_000, 35_000),
});

/** Stretches of things that happen; `waits`: whether time may pass between them. */
export function histories(length: number, waits: boolean): fc.Arbitrary<Event[]> {
  const event: fc.Arbitrary<Event> = fc.oneof(
    { weight: 8, arbitrary: client },
    { weight: 10, arbitrary: known },
    { weight: 2, arbitrary: late },
    { weight: 2, arbitrary: backend },
    ...(waits ? [{ weight: 3, arbitrary: wait }] : []),
  );
  return fc.array(event, { maxLength: length, size: 'max' });
}
