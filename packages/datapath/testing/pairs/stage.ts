import assert from 'node:assert/strict';
import { eth, Packet } from '@heddle/lab';
import { changeOf } from '@heddle/objects/testing/records';
import { ServiceModel, type ServiceRow } from '@heddle/services';
import type { Datapath } from '../../src/datapath.ts';
import type { DatapathOptions } from '../../src/datapath-options.ts';
import type { NodeDevice } from '../../src/devices/node-devices.ts';
import { contextOf } from '../node-packets.ts';
import type { SocketWorld, TestPlace } from '../socket-world.ts';
import type { TestSocket } from '../sockets/sockets.ts';
import {
  type Addresses,
  type End,
  ends,
  nodeObjects,
  type Options,
  objectsOf,
  type PodName,
  podNames,
  ports,
  type Site,
} from './options.ts';

/** A network interface of the node, and the link addresses of a frame that enters by it. */
export interface Entrance {
  readonly device: NodeDevice;
  readonly frame: { readonly src: string; readonly dst: string };
}

export interface StageOptions {
  readonly world: SocketWorld;
  readonly places: Readonly<Record<PodName, TestPlace>>;
  readonly there: Addresses;
  readonly front: Entrance;
  /** The place where packets of the pod `here-0` enter. */
  readonly pod: Entrance;
}

/** The outcome of a packet or a call. */
export type Seen =
  | { readonly outcome: 'untouched' | 'refused' | 'dropped' | 'denied' }
  | {
      readonly outcome: 'served';
      readonly by: string;
      readonly source: string;
      readonly tunnelled: boolean;
    };

const verdicts = { dropped: 2, sent: 7 } as const;
const xdpVerdicts = { dropped: 1, passed: 2 } as const;

/** A node with a datapath, and a model that turns objects into its rows, in any world. */
export class Stage {
  readonly site: Site;
  readonly #options: StageOptions;
  readonly #model: ServiceModel;
  readonly #listeners = new Map<string, TestSocket>();
  readonly #receivers = new Map<string, TestSocket>();
  #rows: readonly ServiceRow[] = [];
  #port = 10_000;
  #setting: Options['sourceRanges'] | undefined;

  constructor(options: StageOptions) {
    this.#options = options;
    const { world, places, there } = options;
    const here = world.node.addresses;
    this.site = {
      ...{ here, there },
      pods: Object.fromEntries(
        podNames.map((name) => [name, places[name].addresses]),
      ) as unknown as Site['pods'],
    };
    this.#model = new ServiceModel({ nodeName: 'here', ownAddresses: [here.v4, here.v6] });
    this.#model.apply(nodeObjects(this.site).map(changeOf));
    for (const name of podNames) {
      for (const end of ends) {
        const family = end === 'v4' ? 4 : 6;
        const key = places[name].addresses[end];
        this.#listeners.set(key, world.listener(places[name], family, ports.target));
        this.#receivers.set(key, world.receiver(places[name], family, ports.target));
      }
    }
  }

  /** Has the datapath serve the case, from whatever it served before. */
  serve(options: Options): void {
    const { world } = this.#options;
    const isNew = this.#setting !== options.sourceRanges;
    if (isNew) {
      const { sourceRanges } = options;
      world.restart({ sourceRanges } satisfies Partial<DatapathOptions>);
      this.#setting = sourceRanges;
    }
    this.#model.apply(objectsOf(options, this.site).map(changeOf));
    const rows = [...this.#model.rows()];
    for (const { key, problems } of rows) {
      // The older pod takes the NodePort for its hostPort, and no socket has SCTP translated; the rows say so.
      const unexpected = problems.filter((each) => !/^NodePort .* is taken|SCTP/.test(each));
      assert.deepEqual(unexpected, [], `problems of ${key}`);
    }
    const gone = this.#rows.filter(({ key }) => !rows.some((row) => row.key === key));
    const errors = [
      ...this.#datapath.services.remove(gone.map(({ key }) => key)),
      ...this.#datapath.services.update(rows),
    ];
    assert.deepEqual(
      errors.filter((error) => error !== undefined),
      [],
    );
    if (isNew) this.#datapath.services.prune(rows);
    this.#rows = rows;
    this.#setDevices(options);
  }

  /** Runs the first packet of a connection through the programs of an interface. */
  packet(
    at: 'front' | 'pod',
    options: Options,
    end: End,
    [from, to, port]: readonly [from: string, to: string, port: number],
  ): Seen {
    const { device, frame } = this.#options[at];
    const header =
      end === 'v4'
        ? eth(frame).ipv4({ src: from, dst: to })
        : eth(frame).ipv6({ src: from, dst: to });
    const sport = ++this.#port;
    const packet = first(header, options.protocol, sport, port);
    const data = packet.bytes;
    const run = (name: 'node_ingress' | 'node_xdp') => {
      const programs =
        name === 'node_xdp' ? this.#datapath.programs.xdp! : this.#datapath.programs.node;
      return this.#options.world.node.enter(() =>
        programs.program(name).testRun({ data, ...contextOf(name, device.index, data) }),
      );
    };
    if (options.xdp && at === 'front') {
      const { returnValue, data: made } = run('node_xdp');
      if (returnValue === xdpVerdicts.dropped) return { outcome: 'dropped' };
      if (returnValue !== xdpVerdicts.passed) return read(Packet.parse(made), from, sport);
      assert.deepEqual(made, data, 'XDP has changed what it passes on');
    }
    const { returnValue, data: made } = run('node_ingress');
    if (returnValue === verdicts.dropped) return { outcome: 'dropped' };
    const isSame = data.every((byte, i) => byte === made[i]);
    // A packet that a pod interface translates goes on by the node's stack.
    if (returnValue === verdicts.sent || !isSame) return read(Packet.parse(made), from, sport);
    return { outcome: 'untouched' };
  }

  /** Connects a socket and reports what the backend observes. The timeout is short where no response is expected. */
  call(
    place: TestPlace,
    { protocol }: Options,
    end: End,
    [address, port]: readonly [address: string, port: number],
    isPatient: boolean,
  ): Seen {
    const { world } = this.#options;
    const before = this.#connections();
    const refused = this.#refusals();
    using socket = world.socket(place, end === 'v4' ? 4 : 6, protocol === 'TCP' ? 'tcp' : 'udp');
    if (!isPatient) socket.waitAtMost(20);
    const result = socket.connect(address, port);
    const isRefused = this.#refusals() > refused;
    if (isRefused) return { outcome: result === 'EPERM' ? 'denied' : 'refused' };
    const chosen = [...this.#connections()].filter(([at, count]) => count > (before.get(at) ?? 0));
    if (chosen.length === 0) {
      // connect() of UDP is not refused where a service has no backend: resolvers probe with it. A send is.
      using unconnected = world.socket(place, end === 'v4' ? 4 : 6, 'udp');
      if (protocol === 'UDP') unconnected.send('who?', { address, port });
      return { outcome: this.#refusals() > refused ? 'refused' : 'untouched' };
    }
    assert.equal(result, 'ok');
    assert.equal(chosen.length, 1, 'connections that were counted');
    const [by] = chosen[0]!;
    let source: string;
    if (protocol === 'TCP') {
      using accepted = this.#listeners.get(by)!.accept();
      source = accepted.peerName();
    } else {
      socket.send('who?');
      source = this.#receivers.get(by)!.receive().from;
    }
    return { outcome: 'served', by, source: source.replace(/:\d+$/, ''), tunnelled: false };
  }

  get #datapath(): Datapath {
    return this.#options.world.datapath;
  }

  #setDevices({ podDevices }: Options): void {
    const { world, front, pod, there } = this.#options;
    const { v4, v6 } = world.node.addresses;
    const devices = podDevices ? [front.device, { ...pod.device, pods: true }] : [front.device];
    world.node.enter(() => this.#datapath.setNode(devices, [v4, v6]));
    this.#datapath.nat.setTunnelEnds({ peers: [there.v4, there.v6], own: [v4, v6] });
  }

  /** Connections made so far, by the backend's address. */
  #connections(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { key } of this.#rows) {
      for (const { address, connections } of this.#datapath.services.backendCounters(key)) {
        counts.set(address, (counts.get(address) ?? 0) + Number(connections));
      }
    }
    return counts;
  }

  #refusals(): number {
    return this.#datapath.drops.refusals().reduce((sum, { count }) => sum + count, 0);
  }
}

/** An INIT without parameters (RFC 9260, 3.3.2): tag, window, streams, number. */
const initChunk = Uint8Array.of(0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1);

/** Returns the packet by which a connection begins. */
function first(
  header: Packet,
  protocol: Options['protocol'],
  sport: number,
  dport: number,
): Packet {
  switch (protocol) {
    case 'TCP':
      return header.tcp({ sport, dport, syn: true });
    case 'UDP':
      return header.udp({ sport, dport }).payload('who?');
    default:
      return header.sctp({ sport, dport, tag: 0, chunks: [{ type: 'init', value: initChunk }] });
  }
}

/** Reads from a packet that is sent on an answer to the client, or its destination and source. */
function read(packet: Packet, client: string, sport: number): Seen {
  const headers = packet.layers.filter((layer) => layer.kind === 'ipv4' || layer.kind === 'ipv6');
  const [outer, inner] = headers as { src: string; dst: string }[];
  assert.ok(outer, `${packet}`);
  const isAnswer = outer.dst === client;
  const transport = packet.layers.find(
    ({ kind }) => kind === 'tcp' || kind === 'udp' || kind === 'sctp',
  ) as { dport: number; sport: number } | undefined;
  if (isAnswer && (transport === undefined || transport.dport === sport)) {
    return { outcome: 'refused' };
  }
  assert.ok(transport, `${packet}`);
  const tunnelled = inner !== undefined;
  if (!tunnelled) assert.equal(transport.dport, ports.target, `${packet}`);
  return { outcome: 'served', by: outer.dst, source: (inner ?? outer).src, tunnelled };
}
