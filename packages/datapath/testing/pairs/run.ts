import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatEndpoint } from '@heddle/sys';
import type { TestPlace } from '../socket-world.ts';
import { coveringCases } from './covering.ts';
import {
  balancer,
  clients,
  clusterIP,
  type End,
  endsOf,
  external,
  type FrontendKind,
  factors,
  frontendKinds,
  type Options,
  objectsOf,
  ports,
} from './options.ts';
import { type Client, type Expected, expectedFor } from './reference-model.ts';
import type { Seen, Stage, StageOptions } from './stage.ts';

/** The least number of options that are combined with each other: 2 in every run, 3 or more when asked. */
export const strength = Number(process.env.HEDDLE_OPTIONS ?? 2);

/** A client with its addresses. It makes its socket at `place`. */
interface Asker extends Client {
  readonly addresses: Readonly<Record<End, string>>;
  readonly place?: TestPlace;
}

/** Defines the tests, on a node in the kernel or in the userspace machine. */
export function optionTests(
  where: string,
  ways: readonly ('the first' | 'in turn')[],
  open: () => { readonly stage: Stage; readonly options: StageOptions } & Disposable,
): void {
  describe(`services with any ${strength} options, ${where}`, () => {
    let world: ReturnType<typeof open>;
    before(() => {
      world = open();
    });
    after(() => world?.[Symbol.dispose]());

    // The setting goes first: another one takes another datapath.
    const cases = ways
      .flatMap((equals) => coveringCases(factors, strength, equals))
      .sort(
        (a, b) => Number(a.sourceRanges > b.sourceRanges) - Number(a.sourceRanges < b.sourceRanges),
      );
    cases.forEach((options, number) => {
      test(`${number + 1} of ${cases.length}: ${titleOf(options)}`, () => {
        const { stage } = world;
        stage.serve(options);
        const wrong = check(stage, options, askersOf(options, world.options));
        if (wrong.length === 0) return;
        const objects = objectsOf(options, stage.site);
        assert.fail(
          [
            ...wrong,
            `options: ${JSON.stringify(options)}`,
            `options before: ${JSON.stringify(cases[number - 1] ?? 'none')}`,
            'objects:',
            JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
          ].join('\n'),
        );
      });
    });
  });
}

/** Returns the options that are not as usual. */
function titleOf(options: Options): string {
  const usual = Object.fromEntries(
    Object.entries(factors).map(([name, [first]]) => [name, first as unknown]),
  );
  const text = Object.entries(options)
    .filter(([name, value]) => value !== usual[name])
    .map(([name, value]) => `${name} ${value}`);
  return text.join(', ') || 'all as usual';
}

function askersOf({ podDevices, protocol }: Options, { world, places }: StageOptions): Asker[] {
  const here = (name: 'here-0' | 'here-1', ranges: readonly string[]) =>
    ({ name: `pod ${name}`, from: 'pod', ranges, self: name, ...placed(places[name]) }) as const;
  const outside = { from: 'external', at: 'node interface' } as const;
  const askers: Asker[] = [
    { name: 'the first client', ...outside, ranges: ['client'], addresses: clients.first },
    { name: 'the second client', ...outside, ranges: [], addresses: clients.second },
    {
      ...{ name: 'a pod elsewhere', ...outside, ranges: [], self: 'there-0' },
      addresses: places['there-0'].addresses,
    },
  ];
  if (podDevices) askers.push({ ...here('here-0', ['pod']), at: 'pod interface' });
  // The kernel has no hooks for SCTP.
  if (protocol !== 'SCTP') {
    askers.push(
      { ...here('here-0', ['pod']), at: 'socket' },
      { ...here('here-1', []), at: 'socket' },
      { name: 'the node', from: 'node', at: 'socket', ranges: ['node'], ...placed(world.node) },
    );
  }
  return askers;
}

const placed = (place: TestPlace) => ({ place, addresses: place.addresses });

/** Asks for every frontend from everywhere. Returns what is not as it should be, in sentences. */
function check(stage: Stage, options: Options, askers: readonly Asker[]): string[] {
  const wrong: string[] = [];
  for (const end of endsOf(options)) {
    for (const asker of askers) {
      for (const kind of frontendKinds) {
        // Loopback is each one's own.
        if (kind === 'loopback' && asker.from !== 'node') continue;
        const to = frontendOf(stage, kind, end);
        const expected = expectedFor(options, asker, kind);
        // The result is the same each time where the service is not served.
        const isServed = expected.outcome === 'served';
        const tries = Array.from({ length: isServed ? 2 : 1 }, () =>
          asker.place && asker.at === 'socket'
            ? stage.call(asker.place, options, end, to, isServed)
            : stage.packet(asker.at === 'pod interface' ? 'pod' : 'front', options, end, [
                asker.addresses[end],
                ...to,
              ]),
        );
        const what = `${asker.name} at the ${asker.at} to ${kind} ${formatEndpoint(...to)}`;
        for (const seen of tries) {
          const problem = difference(stage, asker, end, expected, seen);
          if (problem) wrong.push(`${what}: ${problem}`);
        }
        const [one, two] = tries;
        const moves = one?.outcome === 'served' && two?.outcome === 'served' && one.by !== two.by;
        if (options.affinity && moves) {
          wrong.push(`${what}: session affinity leads to ${one.by}, then to ${two.by}`);
        }
      }
    }
  }
  return wrong;
}

function frontendOf({ site }: Stage, kind: FrontendKind, end: End): [string, number] {
  switch (kind) {
    case 'ClusterIP':
      return [clusterIP[end], ports.service];
    case 'LoadBalancer':
      return [balancer[end], ports.service];
    case 'ExternalIP':
      return [external[end], ports.service];
    case 'NodePort':
      return [site.here[end], ports.node];
    case 'HostPort':
      return [site.here[end], ports.host];
    default:
      return [end === 'v4' ? '127.0.0.1' : '::1', ports.node];
  }
}

/** Returns the difference between the observed and the expected result, or undefined if there is none. */
function difference(
  { site }: Stage,
  asker: Asker,
  end: End,
  expected: Expected,
  seen: Seen,
): string | undefined {
  const text = (value: object) => JSON.stringify(value);
  if (expected.outcome !== 'served') {
    // A call that a range denies fails at once, where a packet gets no answer.
    const outcome = seen.outcome === 'denied' ? 'dropped' : seen.outcome;
    return outcome === expected.outcome ? undefined : `expected ${expected.outcome}, ${text(seen)}`;
  }
  const pod = expected.by.find((name) => 'by' in seen && site.pods[name][end] === seen.by);
  if (seen.outcome !== 'served' || !pod) {
    return `expected one of ${expected.by.join(', ')}, ${text(seen)}`;
  }
  const source = seen.tunnelled
    ? 'tunnelled'
    : seen.source === asker.addresses[end]
      ? 'client'
      : 'node';
  const known = source === 'node' ? seen.source === site.here[end] : true;
  const sources = expected.source(pod);
  if (known && sources.includes(source)) return undefined;
  return `${pod} is to see ${sources.join(' or ')}, ${text(seen)}`;
}
