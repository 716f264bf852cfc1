import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab, type LabHost } from '@heddle/lab';
import { addRoute } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import { backendPort, type Service } from '../catalog.ts';
import { nodePort, sites } from '../sites.ts';
import type { Flood, FloodResult } from '../traffic/flood.ts';
import type { FloodTargets } from '../traffic/flood-frames.ts';
import type { Opening, Visiting, Visits } from '../traffic/legitimate-client.ts';
import {
  conntrackRoom,
  type Flooded,
  floodedHeddle,
  floodedNftables,
} from '../variants/flooded.ts';
import { echoUdp } from '../variants/udp-echo.ts';
import { answer, quietCpu } from '../world.ts';

/** The default number of entries of Heddle's flow table. */
const usualRoom = 65_536;
/** Floods and all that they have the kernel do are on a processor that nothing else of the benchmark uses. */
const floodCpu = 0;

/**
 * The number per service. A balancer's address has about 64,000 ports towards each of them: so there are ports for all
 * connections that a table has room for, and it is the table that is measured.
 */
const backends = 8;
const silentFrom = 201;

const addresses = (prefix: string, first: number) =>
  Array.from({ length: backends }, (_, i) => `${prefix}${first + i}`);

/** Numbers of the NodePorts. */
const numbers = { flooded: 0, other: 1, udp: 2, silent: 3 } as const;

/** Services with these endpoints; of `udp` and `silent` the protocol is UDP. */
function servicesAt(
  endpoints: Readonly<Record<keyof typeof numbers, readonly string[]>>,
): Service[] {
  return Object.entries(numbers).map(([name, n]) => ({
    name,
    clusterIP: `10.96.1.${n + 1}`,
    nodePort: nodePort(n).port,
    protocol: n < numbers.udp ? 'TCP' : 'UDP',
    endpoints: endpoints[name as keyof typeof numbers],
  }));
}

export const targets: Readonly<Record<keyof typeof numbers, SocketAddress>> = {
  flooded: nodePort(numbers.flooded),
  other: nodePort(numbers.other),
  udp: nodePort(numbers.udp),
  silent: nodePort(numbers.silent),
};

export function floodTargets(victims: FloodTargets['victims']): FloodTargets {
  return { tcp: targets.flooded, udp: targets.udp, silent: targets.silent, victims };
}

/** The process that sends floods. */
export class Flooder implements Disposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(place: LabHost): Promise<Flooder> {
    return new Flooder(await started(place, 'flood.ts', `${floodCpu}`));
  }

  async send(flood: Flood): Promise<FloodResult> {
    this.#child.send(flood);
    return (await answer(this.#child)) as FloodResult;
  }

  [Symbol.dispose](): void {
    this.#child.disconnect();
  }
}

/** Labs in which something balances for pods of node 2, with a client outside in each. */
export class FloodStage implements Disposable {
  readonly contenders: readonly Flooded[];
  readonly flooder: Flooder;
  readonly #stack: DisposableStack;
  readonly #clients: ReadonlyMap<Flooded, ChildProcess>;

  private constructor(
    contenders: readonly Flooded[],
    flooder: Flooder,
    clients: ReadonlyMap<Flooded, ChildProcess>,
    stack: DisposableStack,
  ) {
    this.contenders = contenders;
    this.flooder = flooder;
    this.#clients = clients;
    this.#stack = stack;
  }

  /** `isQuick`: without the Heddle that has as much room as conntrack. */
  static async open(platform: Platform, isQuick: boolean): Promise<FloodStage> {
    using stack = new DisposableStack();
    const lab = (name: string) => {
      const made = stack.use(
        createLab(platform, {
          name: `bench-floods-${name}-${process.pid}`,
          ...{ nodes: 2, podsPerNode: 0, outside: 1 },
        }),
      );
      prepare(made, stack);
      return made;
    };
    const all = addresses('10.244.2.', 1);
    const silent = addresses('10.244.2.', silentFrom);
    const services = servicesAt({ flooded: all, other: all, udp: all, silent });
    const contenders = [
      await floodedHeddle('heddle', lab('heddle'), services, usualRoom),
      ...(isQuick ? [] : [await floodedHeddle(...largeHeddle(lab('large'), services))]),
      await floodedNftables(lab('nftables'), services),
    ];
    const pods = contenders.flatMap(({ lab }) => lab.pods.map((pod) => `${lab.name}/${pod.name}`));
    const [first] = contenders;
    const cpu = `${quietCpu(platform)}`;
    await started(first!.lab.pods[0]!, 'server.ts', cpu, ...pods);
    const clients = new Map<Flooded, ChildProcess>();
    for (const each of contenders) {
      const client = await started(each.lab.outside[0]!, 'legitimate-client.ts', cpu);
      stack.defer(() => client.disconnect());
      clients.set(each, client);
    }
    const flooder = stack.use(await Flooder.start(first!.lab.pods[0]!));
    return new FloodStage(contenders, flooder, clients, stack.move());
  }

  /** Returns the local ports of new connections that shall last. */
  async openLasting(contender: Flooded, count: number): Promise<readonly number[]> {
    return (await this.#ask(contender, {
      ...{ do: 'open', to: targets.flooded, count },
    })) as readonly number[];
  }

  async visit(contender: Flooded, visiting: Omit<Visiting, 'do' | 'tcp' | 'udp'>): Promise<Visits> {
    return (await this.#ask(contender, {
      ...{ do: 'visit', tcp: [targets.flooded, targets.other], udp: targets.udp },
      ...visiting,
    })) as Visits;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  async #ask(contender: Flooded, work: Opening | Visiting): Promise<unknown> {
    const client = this.#clients.get(contender)!;
    client.send(work);
    return await answer(client);
  }
}

function largeHeddle(lab: Lab, services: readonly Service[]) {
  return ['heddle, room as conntrack', lab, services, conntrackRoom()] as const;
}

/** Node 1 between two ends of one wire, which measures the cost of a spoofed packet. No host answers. */
export async function openOneArmed(
  platform: Platform,
): Promise<Disposable & { contenders: readonly Flooded[]; sink: Lab }> {
  using stack = new DisposableStack();
  const site = sites['one-armed'];
  const lab = (name: string) => {
    const made = stack.use(
      createLab(platform, { ...site.lab, name: `bench-flood-${name}-${process.pid}` }),
    );
    site.prepare(made);
    return made;
  };
  const all = addresses('10.244.9.', 1);
  const services = servicesAt({ flooded: all, other: all, udp: all, silent: all });
  const contenders = [
    await floodedHeddle('heddle', lab('heddle'), services, usualRoom),
    await floodedNftables(lab('nftables'), services),
  ];
  const sink = lab('sink');
  const kept = stack.move();
  return { contenders, sink, [Symbol.dispose]: () => kept.dispose() };
}

/** Pods that answer UDP in the kernel, and addresses where nothing answers. */
function prepare(lab: Lab, stack: DisposableStack): void {
  const [, home] = lab.nodes;
  for (let i = 0; i < backends; i++) stack.use(echoUdp(lab.addPod(home!), backendPort));
  home!.configure((socket) => {
    for (const address of addresses('10.244.2.', silentFrom)) {
      addRoute(socket, { destination: `${address}/32`, type: 'blackhole' });
    }
  });
  for (const place of [...lab.pods, ...lab.outside]) {
    place.setSysctl('net/ipv4/tcp_max_tw_buckets', 0);
    place.setSysctl('net/ipv4/ip_local_port_range', '10240 65000');
  }
  for (const node of lab.nodes) {
    for (const device of ['all', 'eth0']) {
      node.setSysctl(`net/ipv4/conf/${device}/send_redirects`, 0);
    }
  }
}

async function started(place: LabHost, script: string, ...args: string[]): Promise<ChildProcess> {
  const path = fileURLToPath(new URL(`../traffic/${script}`, import.meta.url));
  const child = place.spawn(process.execPath, [path, ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  await answer(child);
  return child;
}
