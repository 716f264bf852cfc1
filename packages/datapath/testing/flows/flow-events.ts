import fc from 'fast-check';
import type { Event } from './flow-stage.ts';
import type { Flags } from './flow-windows.ts';

/** Flags of TCP segments; those that continue a connection are more likely. */
const flags: fc.Arbitrary<Flags> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Flags>({ syn: true }) },
  { weight: 4, arbitrary: fc.constant<Flags>({ ack: true }) },
  { weight: 3, arbitrary: fc.constant<Flags>({ syn: true, ack: true }) },
  { weight: 6, arbitrary: fc.constant<Flags>({ fin: true, ack: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ fin: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ syn: true, fin: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ rst: true }) },
  { weight: 1, arbitrary: fc.constant<Flags>({ rst: true, ack: true }) },
);

/** One packet of five has guessed sequence numbers. */
const hostile = fc.nat({ max: 4 }).map((n) => n === 0);
const some = fc.nat({ max: 999 });
/** Flows are counted from the newest on. */
const flow = fc.oneof({ weight: 3, arbitrary: fc.nat({ max: 2 }) }, some);

const client = (said: fc.Arbitrary<Flags>) =>
  fc.record({
    kind: fc.constant('client' as const),
    client: some,
    port: fc.nat({ max: 5 }),
    service: some,
    beside: fc.integer({ min: 0, max: 19 }).map((n) => n === 19),
    flags: said,
    hostile,
  });
const known = fc.record({
  kind: fc.constantFrom('known' as const, 'known' as const, 'known' as const, 'late' as const),
  flow,
  isReply: fc.boolean(),
  flags,
  hostile,
  bytes: fc.constantFrom(0, 0, 1),
});
/** A connection with a complete handshake, as most have. */
const handshake = client(fc.constant({ syn: true })).map((first): Event[] => [
  { ...first, beside: false, hostile: false },
  { kind: 'known', flow: 0, isReply: true, flags: { syn: true, ack: true } },
  { kind: 'known', flow: 0, isReply: false, flags: { ack: true }, bytes: 1 },
  { kind: 'known', flow: 0, isReply: true, flags: { ack: true } },
]);
/** A number of flows that fills the table. */
const rush = fc
  .array(handshake, { minLength: 8, maxLength: 16 })
  .map((handshakes) => handshakes.flat());
const backend = fc.record({
  kind: fc.constant('backend' as const),
  service: some,
  backend: some,
  state: fc.constantFrom(
    'active' as const,
    'active' as const,
    'draining' as const,
    'gone' as const,
  ),
});
/** Durations: less than a garbage collection, a few of them, some seconds, and longer than each timeout. */
const wait = fc.record({
  kind: fc.constant('wait' as const),
  milliseconds: fc.constantFrom(20, 70, 70, 300, 300, 1100, 1100, 4000, 9000, 16_000, 35_000),
});

/** A backend is removed, and another one gets its id while its flows still exist. */
const replacement = fc.record({ service: some, backend: some }).map((which): Event[] => [
  { kind: 'backend', ...which, state: 'gone' },
  { kind: 'wait', milliseconds: 300 },
  { kind: 'backend', ...which, state: 'active' },
]);

/** Stretches of things that happen; `waits`: whether time may pass between them. */
export function histories(length: number, waits: boolean): fc.Arbitrary<Event[]> {
  const alone = (event: fc.Arbitrary<Event>) => event.map((each) => [each]);
  const events: fc.Arbitrary<Event[]> = fc.oneof(
    { weight: 7, arbitrary: handshake },
    { weight: 1, arbitrary: rush },
    { weight: 7, arbitrary: alone(client(fc.oneof(fc.constant<Flags>({ syn: true }), flags))) },
    { weight: 10, arbitrary: alone(known) },
    { weight: 2, arbitrary: alone(backend) },
    ...(waits
      ? [
          { weight: 2, arbitrary: alone(wait) },
          { weight: 1, arbitrary: replacement },
        ]
      : []),
  );
  return fc.array(events, { maxLength: length, size: 'max' }).map((stretches) => stretches.flat());
}
