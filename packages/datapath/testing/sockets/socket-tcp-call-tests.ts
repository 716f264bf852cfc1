import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { SocketAddress } from '@heddle/sys/net';
import fc from 'fast-check';
import { row } from '../rows.ts';
import type { SocketWorld } from '../socket-world.ts';
import { at, codeOf, type TestSocket } from './sockets.ts';

const runs = Number(process.env.HEDDLE_SOCKET_RUNS ?? 150);
const seed = Number(process.env.HEDDLE_SOCKET_SEED ?? 1);

const destinations = [
  'one', // a service with a backend in pod 1
  'two', // a service with a backend in pod 2
  'direct', // the backend of `one`
  'silent', // a service whose backend has no listening socket
  'empty', // a service without backends
  'unknown', // a port that the service `one` has not
] as const;
type Destination = (typeof destinations)[number];
const accepts = (to: Destination) => to === 'one' || to === 'two' || to === 'direct';

type Call = { readonly socket: 0 | 1 } & (
  | { readonly call: 'connect' | 'fastopen'; readonly to: Destination }
  | { readonly call: 'disconnect' | 'getpeername' }
  | { readonly call: 'renew'; readonly kind: 'tcp' | 'mptcp' }
);

const socket = fc.constantFrom(0 as const, 1 as const);
const to = fc.constantFrom(...destinations);
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ socket, call: fc.constant('connect' as const), to }) },
  { weight: 1, arbitrary: fc.record({ socket, call: fc.constant('fastopen' as const), to }) },
  {
    weight: 3,
    arbitrary: fc.record({
      socket,
      call: fc.constantFrom('disconnect' as const, 'getpeername' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      socket,
      call: fc.constant('renew' as const),
      kind: fc.constantFrom('tcp' as const, 'mptcp' as const),
    }),
  },
);

const views = [
  ['IPv4', 4, '', 'v4', (n: number) => `10.96.8.${n}`],
  ['IPv4 in IPv6 sockets', 6, '::ffff:', 'v4', (n: number) => `10.96.8.${n}`],
  ['IPv6', 6, '', 'v6', (n: number) => `fd00:10:96::8:${n}`],
] as const;

/**
 * Sequences of calls on TCP and MPTCP sockets: outcomes and peers are those of a network where each service is a
 * host, and each service counts as open what is connected to it. `hasFastOpen`: whether the world knows MSG_FASTOPEN.
 */
export function tcpCallTests(
  makeWorld: (name: string, pods: number) => SocketWorld,
  hasFastOpen: boolean,
): void {
  describe('TCP and MPTCP sockets behave as in a network where each service is a host', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('tcp-calls', 3);
    });
    after(() => world?.[Symbol.dispose]());

    for (const [name, family, prefix, end, vip] of views) {
      test(`${runs} sequences of calls, ${name}`, () => {
        const pods = [1, 2].map((n) => world.pod(n));
        const listeners = pods.map((pod) => world.listener(pod, end === 'v4' ? 4 : 6, 7201));
        const backend = (pod: number, port: number) => ({
          address: pods[pod]!.addresses[end],
          port,
        });
        const counted = { algorithm: 'least-connections' as const };
        const front = (number: number) => ({ address: vip(number), port: 80 });
        const rows = {
          one: row([front(1)], [backend(0, 7201)], counted),
          two: row([front(2)], [backend(1, 7201)], counted),
          silent: row([front(3)], [backend(0, 7202)], counted),
        };
        world.apply(...Object.values(rows), row([front(4)], []));
        const shown = ({ address, port }: SocketAddress) => ({ address: prefix + address, port });
        const ends: Readonly<Record<Destination, SocketAddress>> = {
          one: shown(front(1)),
          two: shown(front(2)),
          direct: shown(backend(0, 7201)),
          silent: shown(front(3)),
          empty: shown(front(4)),
          unknown: shown({ address: vip(1), port: 81 }),
        };
        const open = () =>
          Object.values(rows).map(
            ({ key }) => world.datapath.services.backendCounters(key)![0]!.active,
          );

        const play = (calls: readonly Call[]) => {
          const make = (kind: 'tcp' | 'mptcp') => world.socket(world.pod(0), family, kind);
          const sockets: TestSocket[] = [make('tcp'), make('tcp')];
          const peers: (Destination | undefined)[] = [undefined, undefined];
          const accepted: TestSocket[] = [];
          const connected = (i: number, each: Destination, outcome: string, where: string) => {
            assert.equal(outcome, accepts(each) ? 'ok' : 'ECONNREFUSED', where);
            if (outcome !== 'ok') return;
            peers[i] = each;
            accepted.push(listeners[each === 'two' ? 1 : 0]!.accept());
          };
          try {
            for (const [n, each] of calls.entries()) {
              const i = each.socket;
              const where = `call ${n + 1}`;
              const own = sockets[i]!;
              if (each.call === 'connect') {
                const { address, port } = ends[each.to];
                const outcome = own.connect(address, port);
                if (peers[i]) assert.equal(outcome, 'EISCONN', where);
                else connected(i, each.to, outcome, where);
              } else if (each.call === 'fastopen' && hasFastOpen && !peers[i]) {
                connected(i, each.to, own.fastOpen('x', ends[each.to]), where);
              } else if (each.call === 'disconnect') {
                assert.equal(own.disconnect(), 'ok', where);
                peers[i] = undefined;
              } else if (each.call === 'getpeername') {
                const peer = peers[i];
                if (peer)
                  assert.equal(own.peerName(), at(ends[peer].address, ends[peer].port), where);
                else
                  assert.equal(
                    codeOf(() => own.peerName()),
                    'ENOTCONN',
                    where,
                  );
              } else if (each.call === 'renew') {
                own[Symbol.dispose]();
                sockets[i] = make(each.kind);
                peers[i] = undefined;
              }
              const expected = ['one', 'two', 'silent'].map(
                (service) => peers.filter((peer) => peer === service).length,
              );
              assert.deepEqual(open(), expected, `${where}: open connections`);
            }
          } finally {
            for (const each of [...sockets, ...accepted]) each[Symbol.dispose]();
          }
        };
        try {
          fc.assert(fc.property(fc.array(call, { maxLength: 30, size: 'max' }), play), {
            numRuns: runs,
            seed,
          });
        } finally {
          for (const listener of listeners) listener[Symbol.dispose]();
        }
      });
    }
  });
}
