import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { SocketAddress } from '@heddle/sys/net';
import fc from 'fast-check';
import { row } from '../rows.ts';
import type { SocketWorld } from '../socket-world.ts';
import {
  type Answering,
  answering,
  type Destination,
  destinations,
  SocketModel,
} from './socket-call-model.ts';
import { at, codeOf, type TestSocket } from './sockets.ts';

const runs = Number(process.env.HEDDLE_SOCKET_RUNS ?? 250);
const seed = Number(process.env.HEDDLE_SOCKET_SEED ?? 1);

/** A call on one of two sockets. */
type Call = { readonly socket: 0 | 1 } & (
  | { readonly call: 'connect'; readonly to: Destination }
  | { readonly call: 'sendto' | 'sendmsg'; readonly to: Destination }
  | { readonly call: 'sendmmsg'; readonly to: readonly Answering[] }
  | {
      readonly call:
        | 'bind'
        | 'disconnect'
        | 'send'
        | 'crowd'
        | 'getpeername'
        | 'receive'
        | 'dup'
        | 'close';
    }
);

const socket = fc.constantFrom(0 as const, 1 as const);
const call: fc.Arbitrary<Call> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      socket,
      call: fc.constant('connect' as const),
      to: fc.constantFrom(...destinations),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      socket,
      call: fc.constantFrom('sendto' as const, 'sendmsg' as const),
      // An unroutable destination of a send is reported late, if at all.
      to: fc.constantFrom(...destinations.filter((to) => to !== 'failing')),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      socket,
      call: fc.constant('sendmmsg' as const),
      to: fc.array(fc.constantFrom(...answering), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      socket,
      call: fc.constantFrom(
        ...(['disconnect', 'send', 'send', 'crowd', 'getpeername', 'receive', 'receive'] as const),
        ...(['bind', 'dup', 'close'] as const),
      ),
    }),
  },
);

/** The form of a family's addresses at a socket, and the addresses of the destinations. */
interface View {
  readonly name: string;
  readonly family: 4 | 6;
  readonly prefix: string;
  readonly end: 'v4' | 'v6';
  vip(number: number): string;
  crowd(number: number): string;
  /** A backend to which the kernel connects no UDP socket, and what it answers. */
  readonly unusable: readonly [address: string, code: string];
}

const v4 = {
  vip: (number: number) => `10.96.9.${number}`,
  crowd: (number: number) => `10.244.77.${number}`,
  end: 'v4' as const,
  unusable: ['255.255.255.255', 'EACCES'] as const,
};
const views: readonly View[] = [
  { ...v4, name: 'IPv4', family: 4, prefix: '' },
  { ...v4, name: 'IPv4 in IPv6 sockets', family: 6, prefix: '::ffff:' },
  {
    name: 'IPv6',
    family: 6,
    prefix: '',
    vip: (number) => `fd00:10:96::9:${number}`,
    crowd: (number) => `fd00:10:244:77::${number}`,
    end: 'v6',
    unusable: ['fe80::1', 'EINVAL'],
  },
];

const backendPorts: Readonly<Record<'alpha' | 'beta' | 'shared', number>> = {
  alpha: 7101,
  beta: 7102,
  shared: 7103,
};
/** One more than a socket remembers. */
const crowdSize = 17;

/** Defines the property, on a node in the kernel or in the userspace machine. */
export function socketCallTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('UDP sockets behave as in a network where each service is a host', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('calls', 3);
    });
    after(() => world?.[Symbol.dispose]());

    for (const view of views) {
      test(`${runs} sequences of calls, ${view.name}`, () => {
        using stage = new Stage(world, view);
        fc.assert(
          fc.property(fc.array(call, { maxLength: 40, size: 'max' }), (calls) => stage.play(calls)),
          { numRuns: runs, seed },
        );
      });
    }
  });
}

interface Arrival {
  /** The name of the receiver. */
  readonly name: string;
  readonly socket: TestSocket;
  readonly from: string;
}

/** Two sockets with their models, and the pods that they talk to. */
class Stage implements Disposable {
  readonly #world: SocketWorld;
  readonly #view: View;
  readonly #ends: Readonly<Record<Destination, SocketAddress>>;
  readonly #receivers: readonly { readonly name: string; readonly socket: TestSocket }[];
  /** The datagrams that the pods got and no step has read yet, by text. */
  readonly #arrivals = new Map<string, Arrival>();
  #sockets: TestSocket[] = [];
  #models: SocketModel[] = [];
  /** The number of times that each may still send to its peer. */
  #sendsLeft: number[] = [];
  #texts = 0;

  constructor(world: SocketWorld, view: View) {
    this.#world = world;
    this.#view = view;
    const [one, two] = [world.pod(1), world.pod(2)].map((pod) => pod.addresses[view.end]) as [
      string,
      string,
    ];
    const front = (number: number) => ({ address: view.vip(number), port: 53 });
    const udp = { protocol: 'UDP' as const };
    const both = (port: number) => [one, two].map((address) => ({ address, port }));
    world.apply(
      row([front(1)], both(backendPorts.alpha), udp),
      row([front(2)], both(backendPorts.beta), udp),
      row([front(3)], [{ address: one, port: backendPorts.shared }], udp),
      row([front(4)], [], udp),
      row([front(5)], [{ address: view.unusable[0], port: 9 }], udp),
      row(
        [front(6)],
        Array.from({ length: crowdSize }, (_, i) => ({ address: view.crowd(i + 1), port: 9 })),
        udp,
      ),
    );
    const shown = ({ address, port }: SocketAddress) => ({ address: view.prefix + address, port });
    this.#ends = {
      alpha: shown(front(1)),
      beta: shown(front(2)),
      shared: shown(front(3)),
      direct: shown({ address: one, port: backendPorts.shared }),
      empty: shown(front(4)),
      unknown: shown({ address: view.vip(1), port: 54 }),
      failing: shown(front(5)),
    };
    const family = view.end === 'v4' ? 4 : 6;
    this.#receivers = [1, 2].flatMap((pod) =>
      Object.values(backendPorts).map((port) => ({
        name: `pod ${pod} port ${port}`,
        socket: world.receiver(world.pod(pod), family, port),
      })),
    );
  }

  play(calls: readonly Call[]): void {
    try {
      this.#models = [new SocketModel(), new SocketModel()];
      this.#sendsLeft = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      this.#sockets = [this.#socket(), this.#socket()];
      for (const [i, each] of calls.entries()) this.#do(each, `call ${i + 1}`);
      for (const [i, model] of this.#models.entries()) {
        while (model.queue.length > 0) this.#receive(i, 'at the end');
        assert.equal(this.#sockets[i]!.receiveNow(), undefined, 'at the end nothing waits');
      }
      assert.deepEqual(
        [...this.#arrivals.keys()],
        [],
        'no socket gets a datagram that was not sent to it',
      );
    } finally {
      this.#arrivals.clear();
      for (const each of this.#sockets) each[Symbol.dispose]();
      for (const { socket } of this.#receivers) while (socket.receiveNow());
    }
  }

  [Symbol.dispose](): void {
    for (const { socket } of this.#receivers) socket[Symbol.dispose]();
  }

  #socket(): TestSocket {
    return this.#world.socket(this.#world.pod(0), this.#view.family, 'udp');
  }

  #do(each: Call, where: string): void {
    const i = each.socket;
    const socket = this.#sockets[i]!;
    const model = this.#models[i]!;
    const name = (to: Destination) => at(this.#ends[to].address, this.#ends[to].port);
    switch (each.call) {
      case 'connect': {
        this.#readShared(i, undefined, where);
        const { address, port } = this.#ends[each.to];
        const expected = model.connect(each.to, this.#view.unusable[1]);
        assert.equal(socket.connect(address, port), expected, where);
        // An IPv4 connect() that fails leaves its address in inet->cork, and from the second send() on the kernel
        // sends to there (udp_sendmsg with a cached route).
        if (this.#view.end === 'v4' && expected !== 'ECONNREFUSED') {
          this.#sendsLeft[i] = each.to === 'failing' ? 1 : Number.POSITIVE_INFINITY;
        }
        return;
      }
      case 'disconnect':
        this.#readShared(i, undefined, where);
        model.disconnect();
        assert.equal(socket.disconnect(), 'ok', where);
        return;
      case 'sendto':
      case 'sendmsg': {
        this.#readShared(i, each.to, where);
        const text = this.#text();
        const to = this.#ends[each.to];
        const sent = each.call === 'sendto' ? socket.send(text, to) : socket.sendMessage(text, to);
        assert.equal(sent, model.send(each.to), where);
        if (sent === 'ok') this.#serve(i, each.to as Answering, text, where);
        return;
      }
      case 'sendmmsg': {
        for (const to of each.to) this.#readShared(i, to, where);
        const shared = each.to.filter((to) => to === 'shared' || to === 'direct');
        const to = new Set(shared).size > 1 ? each.to.filter((to) => to !== 'direct') : each.to;
        const messages = to.map((to) => ({ text: this.#text(), to: this.#ends[to] }));
        assert.equal(socket.sendMessages(messages), messages.length, where);
        // The pods answer only when all datagrams are sent.
        for (const [n, answers] of to.entries()) this.#serve(i, answers, messages[n]!.text, where);
        return;
      }
      case 'send': {
        // A datagram to an address without service gets an ICMP error, some time later.
        if (model.peer === 'empty' || model.peer === 'unknown') return;
        if (model.peer && this.#sendsLeft[i]!-- <= 0) return;
        this.#readShared(i, model.peer, where);
        const text = this.#text();
        assert.equal(socket.send(text), model.send(undefined), where);
        if (model.peer) this.#serve(i, model.peer as Answering, text, where);
        return;
      }
      case 'crowd':
        // So many other peers evict one that was addressed directly.
        this.#readShared(i, 'shared', where);
        for (let n = 1; n <= crowdSize; n++) {
          const address = this.#view.prefix + this.#view.crowd(n);
          assert.equal(socket.send('crowd', { address, port: 9 }), 'ok', where);
        }
        return;
      case 'getpeername':
        if (model.peer === undefined)
          assert.equal(
            codeOf(() => socket.peerName()),
            'ENOTCONN',
            where,
          );
        else assert.equal(socket.peerName(), name(model.peer), where);
        return;
      case 'receive':
        if (model.queue.length > 0) this.#receive(i, where);
        return;
      case 'dup':
        this.#sockets[i] = socket.duplicate();
        socket[Symbol.dispose]();
        return;
      case 'bind':
        socket.bind(this.#view.family === 4 ? '0.0.0.0' : '::', 41_000 + i);
        return;
      case 'close':
        socket[Symbol.dispose]();
        this.#sockets[i] = this.#socket();
        this.#models[i] = new SocketModel();
        this.#sendsLeft[i] = Number.POSITIVE_INFINITY;
        return;
    }
  }

  #text(): string {
    return `datagram ${++this.#texts}`;
  }

  /** Only their order distinguishes replies of one backend by two names: reads them before a call that mixes them. */
  #readShared(i: number, to: Destination | undefined, where: string): void {
    while (this.#models[i]!.mustReadBefore(to)) this.#receive(i, where);
  }

  /** Receives the datagram at the backend, and answers. */
  #serve(i: number, to: Answering, text: string, where: string): void {
    const model = this.#models[i]!;
    const { name, socket, from } = this.#arrival(text, where);
    const port = Number(name.split(' ').at(-1));
    assert.equal(port, backendPorts[to === 'direct' ? 'shared' : to], `${where}: ${to} gets it`);
    assert.equal(model.arrived(to, name), undefined, where);
    if (this.#view.end === 'v6' && model.isDeafIpv6(name)) return;
    const split = from.lastIndexOf(':');
    const client = { address: from.slice(0, split), port: Number(from.slice(split + 1)) };
    const reply = `reply to ${text}`;
    assert.equal(socket.send(reply, client), 'ok', where);
    model.answer({ from: to, text: reply });
  }

  #arrival(text: string, where: string): Arrival {
    // In the kernel a datagram can take a moment.
    for (const deadline = performance.now() + 2000; performance.now() < deadline; ) {
      const found = this.#arrivals.get(text);
      this.#arrivals.delete(text);
      if (found) return found;
      for (const receiver of this.#receivers) {
        for (let got = receiver.socket.receiveNow(); got; got = receiver.socket.receiveNow()) {
          this.#arrivals.set(got.text, { ...receiver, from: got.from });
        }
      }
    }
    return assert.fail(`${where}: nobody got ${text}`);
  }

  #receive(i: number, where: string): void {
    const { from, text } = this.#models[i]!.queue.shift()!;
    const { address, port } = this.#ends[from];
    assert.deepEqual(this.#sockets[i]!.receive(), { text, from: at(address, port) }, where);
  }
}
