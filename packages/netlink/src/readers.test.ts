import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fakeKernel, message } from '../testing/fake-socket.ts';
import { listAddresses, readLinkAddress } from './addresses.ts';
import { MalformedMessage, NetlinkError } from './errors.ts';
import { findLink, listLinks, readLink } from './links.ts';
import { namespaceId } from './namespace-id.ts';
import { listNeighbours, readNeighbour } from './neighbours.ts';
import { listChainRules, listChains, readChain, readRule } from './netfilter.ts';
import { addQdisc, listQdiscs, readQdisc, TC_H_INGRESS, TC_H_ROOT } from './qdiscs.ts';
import { addRoute, listRoutes, readRoute } from './routes.ts';
import { addRoutingRule, listRoutingRules, readRoutingRule } from './routing-rules.ts';
import { NetlinkSocket } from './socket.ts';
import { listSockets, readInetSocket } from './socket-diag.ts';
import { hasFilter } from './traffic-control.ts';
import { readNetworkEvent } from './watch.ts';
import { type Message, MessageWriter, NLMSG_DONE, readMessages } from './wire.ts';

const readers: Readonly<Record<string, (message: Message) => unknown>> = {
  link: readLink,
  address: readLinkAddress,
  route: readRoute,
  neighbour: readNeighbour,
  'routing rule': readRoutingRule,
  qdisc: readQdisc,
  socket: (each) => readInetSocket(each, 'udp'),
  'netfilter chain': readChain,
  'netfilter rule': readRule,
  event: readNetworkEvent,
};

/** Attributes, also nested ones and lists of structs, whose types are those that readers know. */
const { tree } = fc.letrec<{ tree: Uint8Array }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3 },
    fc.uint8Array({ maxLength: 40 }),
    fc
      .array(fc.tuple(fc.integer({ min: 0, max: 60 }), tie('tree')), { maxLength: 6 })
      .map((attributes) => {
        const writer = new MessageWriter(0);
        for (const [type, payload] of attributes) writer.bytes(type, payload);
        return writer.finish(1).slice(16);
      }),
  ),
}));

/** A body that starts as those of the kernel do: a family, and zeros where lengths are. */
const bodies = fc
  .tuple(fc.constantFrom(0, 2, 7, 10, 17, 255), fc.constantFrom(4, 8, 12, 16, 20, 72), tree)
  .chain(([family, headerSize, attributes]) =>
    fc.uint8Array({ minLength: headerSize, maxLength: headerSize }).map((header) => {
      const body = new Uint8Array(headerSize + attributes.length);
      body.set(header);
      body[0] = family;
      body.set(attributes, headerSize);
      return body;
    }),
  );

const anyBody = fc.oneof(fc.uint8Array({ maxLength: 200 }), bodies);

for (const [name, read] of Object.entries(readers)) {
  test(`any bytes read as a ${name} give a value or a MalformedMessage`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 29 }), anyBody, (type, body) => {
        try {
          read({ type, flags: 0, sequence: 0, port: 0, body });
        } catch (error) {
          assert.ok(error instanceof MalformedMessage, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
}

const chain = { family: 2, table: 'filter', name: 'FORWARD', hook: undefined };
const filter = { link: 1, direction: 'ingress', priority: 1, handle: 1 } as const;
const requests: readonly ((socket: NetlinkSocket) => unknown)[] = [
  listLinks,
  (socket) => findLink(socket, 'eth0'),
  (socket) => listAddresses(socket),
  (socket) => listRoutes(socket),
  (socket) => addRoute(socket, { destination: '10.0.0.0/8', link: 1 }),
  (socket) => listNeighbours(socket),
  listRoutingRules,
  (socket) => listQdiscs(socket),
  (socket) => hasFilter(socket, filter),
  (socket) => listSockets(socket, { protocol: 'tcp' }),
  listChains,
  (socket) => listChainRules(socket, chain),
  (socket) => namespaceId(socket, 3),
];

test('any answers of the kernel give a result, a NetlinkError or a MalformedMessage', () => {
  const answer = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc
      .tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 0xffff }), anyBody)
      .map(([type, flags, body]) => message(type, flags, body)),
    anyBody.map((body) => message(2, 0x300, body)),
    fc.integer({ min: -133, max: -1 }),
  );
  const answers = fc.array(answer, { maxLength: 4 });
  fc.assert(
    fc.property(answers, fc.constantFrom(...requests), (list, request) => {
      const end = message(NLMSG_DONE, 0, new Uint8Array(4));
      using socket = new NetlinkSocket(fakeKernel(() => [...list, end]).platform);
      try {
        request(socket);
      } catch (error) {
        const isTyped = error instanceof MalformedMessage || error instanceof NetlinkError;
        assert.ok(isTyped, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

/** Reads what `write` has sent. */
function sent(write: (socket: NetlinkSocket) => void): Message {
  const kernel = fakeKernel(() => [message(2, 0x100, new Uint8Array(20))]);
  using socket = new NetlinkSocket(kernel.platform);
  write(socket);
  return readMessages(kernel.sent[0]!)[0]!;
}

test('any multipath route that is written is read back', () => {
  const hop = fc.record(
    {
      via: fc.constantFrom('10.0.0.1', 'fd00::1', '192.0.2.7'),
      link: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      onlink: fc.boolean(),
      weight: fc.integer({ min: 1, max: 256 }),
    },
    { requiredKeys: ['link'] },
  );
  fc.assert(
    fc.property(fc.array(hop, { minLength: 1, maxLength: 20 }), (hops) => {
      const nextHops = hops.map((each) => ({ onlink: false, weight: 1, ...each }));
      const route = { destination: '10.9.0.0/16', metric: 7, nextHops };
      const read = readRoute(sent((socket) => addRoute(socket, route)));
      assert.deepEqual(read?.nextHops, nextHops);
      assert.equal(read?.metric, 7);
      assert.equal(read?.via, undefined);
    }),
  );
});

test('any routing rule that is written is read back', () => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const rule = fc.record(
    {
      family: fc.constant(2 as const),
      priority: u32,
      source: fc.constantFrom('10.0.0.0/8', '192.0.2.1/32', '0.0.0.0/0'),
      destination: fc.constantFrom('10.0.0.0/8', '192.0.2.1/32'),
      mark: u32,
      markMask: u32,
      inputLink: fc.constantFrom('lo', 'eth0'),
      outputLink: fc.constantFrom('lo', 'eth0'),
      invert: fc.boolean(),
      action: fc.constantFrom('lookup', 'goto', 'nop', 'blackhole', 'unreachable', 'prohibit'),
      target: u32,
    },
    { requiredKeys: ['family'] },
  );
  fc.assert(
    fc.property(rule, u32, (given, table) => {
      const whole = { priority: 0, invert: false, action: 'lookup' as const, ...given };
      const expected = whole.action === 'lookup' ? { ...whole, table } : whole;
      const read = readRoutingRule(sent((socket) => addRoutingRule(socket, expected)));
      assert.deepEqual(read, expected);
    }),
  );
});

test('a qdisc that is written is read back', () => {
  const clsact = sent((socket) => addQdisc(socket, { link: 3, kind: 'clsact' }));
  const ingress = { link: 3, kind: 'clsact', handle: 0xffff0000, parent: TC_H_INGRESS, blocks: {} };
  assert.deepEqual(readQdisc(clsact), ingress);
  const fq = sent((socket) => addQdisc(socket, { link: 3, kind: 'fq', handle: 0x80010000 }));
  const root = { link: 3, kind: 'fq', handle: 0x80010000, parent: TC_H_ROOT, blocks: {} };
  assert.deepEqual(readQdisc(fq), root);
});
