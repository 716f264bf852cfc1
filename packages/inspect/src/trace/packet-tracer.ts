import { Packet } from '@heddle/lab';
import { formatEndpoint, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import type { DecodedFields } from './decode.ts';
import { type HookResult, PacketHooks, type WayOut } from './hooks.ts';
import {
  describePacket,
  type Ends,
  errorAbout,
  frameFor,
  fromTo,
  inverseOf,
  packetOf,
} from './packet.ts';
import type { TracedPod } from './pods.ts';
import type { Question } from './question.ts';
import type { Step, Verdict } from './result.ts';
import { dumpedRoutes, fib } from './routes.ts';
import { StepDescriber } from './step-describer.ts';
import { elements, type Tracer } from './tracer.ts';
import type { Tunnel } from './tunnel.ts';

// Offsets in struct bpf_fib_lookup, and its size.
const ROUTE = 64;
const ROUTE_IFINDEX = 8;
const DESTINATION = 32;

/** Stands for link-layer addresses that the trace does not know. */
const unknownMac = '02:00:00:00:00:01';

const notHere =
  'the backend’s node replies to the client itself; the reply does not pass this node';

/** The end of a trace. */
interface TraceEnd {
  readonly verdict: Verdict;
  /** The ends of the packet that is sent on; absent when none is. */
  readonly ends?: Ends;
}

/** Traces a packet through the programs at the node's interfaces, and through its routes between them. */
export function tracePacket(tracer: Tracer, question: Question): Verdict {
  return new PacketTracer(tracer, question).trace();
}

class PacketTracer {
  readonly #tracer: Tracer;
  readonly #question: Question;
  readonly #served: ReadonlySet<number>;
  readonly #hooks: PacketHooks;

  constructor(tracer: Tracer, question: Question) {
    this.#tracer = tracer;
    this.#question = question;
    this.#hooks = new PacketHooks(tracer);
    this.#served = new Set(elements(tracer.dump, 'node_devices').map(([index]) => index));
  }

  trace(): Verdict {
    const {
      source,
      sourcePort,
      address,
      port,
      protocol,
      flags,
      error,
      flow,
      reply,
      at,
      namespace,
      pod,
    } = this.#question;
    const { notes } = this.#tracer;
    const ends = {
      ...{ source, sourcePort: protocol === 'icmp' ? 0 : sourcePort },
      ...{ destination: address, destinationPort: port },
    };
    if (at === 'pod' && !pod) {
      notes.push(
        'Heddle has no program at the interfaces of pods: a packet from a pod takes the node’s own routes (service addresses are translated at the socket: --at socket)',
      );
      return this.#send(packetOf(protocol, ends, 'first', flags)).verdict;
    }
    if (at === 'node' && namespace) {
      notes.push(
        'a packet from a process of this node does not enter through an interface: it is traced as an external packet',
      );
    }
    if (!flow && !reply && !error) {
      return this.#begin(packetOf(protocol, ends, 'first', flags)).verdict;
    }
    let beyond: Ends;
    if (flow?.forwarding === 'dsr' && reply) {
      notes.push(notHere);
      return this.#begin(packetOf(protocol, ends, 'later', flags)).verdict;
    }
    if (flow) {
      const { source: seen, sourcePort: seenPort, backend, backendPort } = flow;
      beyond = {
        ...{ source: seen, sourcePort: seenPort },
        ...{ destination: backend, destinationPort: backendPort },
      };
      notes.push(
        `flow ${flow.number} is ${flow.state}; the backend observes a packet ${fromTo(ends)} as one ${fromTo(beyond)}`,
      );
    } else {
      const first = this.#begin(packetOf(protocol, ends, 'first'));
      if (first.verdict.outcome === 'tunnelled' && reply) {
        notes.push(notHere);
        return first.verdict;
      }
      const { outcome } = first.verdict;
      // What a pod sends to others gets a reply, whether it is translated or not.
      const isReceived = outcome === 'translated' || outcome === 'tunnelled' || at !== 'node';
      if (!isReceived || !first.ends) {
        notes.push('no backend receives the packet, so none replies');
        return first.verdict;
      }
      beyond = first.ends;
    }
    const position = flow ? 'later' : 'answer';
    if (!reply) {
      if (!error) return this.#begin(packetOf(protocol, ends, 'later', flags)).verdict;
      const back = inverseOf(ends);
      const about = packetOf(protocol, back, position);
      return this.#begin(errorAbout(error, about, back)).verdict;
    }
    const packet = error
      ? errorAbout(error, packetOf(protocol, beyond, flow ? 'later' : 'first'), beyond)
      : packetOf(protocol, inverseOf(beyond), position, flags);
    return this.#enterNode(packet, 'by route').verdict;
  }

  /** Traces a packet of the question from where it starts. */
  #begin(packet: Packet): TraceEnd {
    const { at, pod } = this.#question;
    if (at === 'pod' && pod) return this.#leavePod(pod, packet);
    return at === 'tunnel' ? this.#enterByTunnel(packet) : this.#enterNode(packet, 'usual');
  }

  /** Traces a packet that a pod of this node sends. */
  #leavePod({ ifindex, mac }: TracedPod, packet: Packet): TraceEnd {
    const link = this.#tracer.dump.network?.links.find(({ index }) => index === ifindex);
    const frame = frameFor(link?.address ?? unknownMac, packet, mac);
    return this.#proceed(this.#hooks.runTc({ program: 'from_pod', ifindex, frame }), packet);
  }

  /** Traces a packet out of the tunnel from the node whose pods have its source. */
  #enterByTunnel(packet: Packet): TraceEnd {
    const { pods, notes } = this.#tracer;
    const { source } = describePacket(packet).ends;
    const { ifindex, id } = pods.tunnel!;
    const remote = pods.remote(source);
    if (!remote?.tunnel) {
      notes.push(
        `no tunnel leads to a node whose pods have ${source}: the packet is traced as one from elsewhere`,
      );
    }
    const tunnel: Tunnel = { id, to: remote?.tunnel?.to ?? '0.0.0.0' };
    const frame = frameFor(unknownMac, packet);
    return this.#proceed(
      this.#hooks.runTc({ program: 'from_tunnel', ifindex, frame, tunnel }),
      packet,
    );
  }

  /** Continues the path of a packet behind an ingress hook. */
  #proceed(passed: HookResult, packet: Packet): TraceEnd {
    if (passed.verdict) return { verdict: passed.verdict };
    return passed.out
      ? this.#sendBy(passed.out, passed, packet)
      : this.#routeByStack(passed, packet);
  }

  /**
   * Traces a packet that enters by the interface with the route to its sender. If Heddle does not serve
   * that interface, the packet enters by another one (`usual`), or as a pod's packet (`by route`). Packets of pods of
   * other nodes enter by the tunnel if there is one.
   */
  #enterNode(packet: Packet, by: 'usual' | 'by route'): TraceEnd {
    const { source } = describePacket(packet).ends;
    const { network } = this.#tracer.dump;
    const { pods } = this.#tracer;
    const pod = by === 'by route' ? pods.withAddress(source) : undefined;
    if (pod) return this.#leavePod(pod, packet);
    if (pods.tunnel && pods.remote(source)?.tunnel) return this.#enterByTunnel(packet);
    const route = this.#route(source);
    const routed = route?.ifindex ?? 0;
    if (by === 'by route' && !this.#served.has(routed)) return this.#send(packet);
    const index = this.#served.has(routed) ? routed : [...this.#served][0];
    const link = network?.links.find((each) => each.index === index);
    if (!link) {
      const { text } = describePacket(packet);
      const { ends } = describePacket(packet);
      const why = `Heddle serves no interface of this node: the packet is sent to ${formatEndpoint(ends.destination, ends.destinationPort)} unchanged`;
      return {
        verdict: { outcome: 'passed', text: why, ...destinationOf(ends), packet: text },
        ends,
      };
    }
    const frame = frameFor(link.address, packet);
    const xdp = this.#hooks.runXdp(link.index, frame);
    if (xdp?.verdict) return { verdict: xdp.verdict };
    if (xdp?.out) return this.#finish(`the packet is sent out of ${link.name}`, xdp, packet);
    const { index: ifindex } = link;
    return this.#proceed(this.#hooks.runTc({ program: 'node_ingress', ifindex, frame }), packet);
  }

  /** Traces a packet of the node itself or of one of its pods. */
  #send(packet: Packet): TraceEnd {
    return this.#routeByStack({ frame: frameFor(unknownMac, packet), steps: [] }, packet);
  }

  /** Routes a packet as the node's stack does. */
  #routeByStack(passed: HookResult, sent: Packet): TraceEnd {
    const now = describePacket(Packet.parse(passed.frame));
    const { destination } = now.ends;
    const route = this.#route(destination);
    if (!route) {
      this.#tracer.notes.push(
        'the node’s routes are not known, so the trace does not show the interface',
      );
      return this.#finish('the packet is sent', passed, sent);
    }
    const isOwn = route.result === fib.notForwarded;
    const isRouted = route.result === fib.success || route.result === fib.noNeighbour;
    const result = isOwn
      ? 'it is delivered to this node'
      : isRouted
        ? `it is sent out of ${this.#hooks.nameOf(route.ifindex)}`
        : 'it is not forwarded';
    this.#tracer.hooks.push({
      ...{ hook: 'stack', steps: [{ kind: 'route', meaning: route.meaning }], result },
      packet: now.text,
    });
    if (isOwn) return this.#finish('the packet is sent, by this node’s stack,', passed, sent);
    if (!isRouted) {
      const text = `this node’s stack does not forward the packet: ${route.meaning}`;
      return { verdict: { outcome: 'dropped', text } };
    }
    return this.#sendOut(route.ifindex, 0, passed, sent);
  }

  /** Sends a packet as a program has decided. */
  #sendBy({ ifindex, mark, to, tunnel }: WayOut, passed: HookResult, sent: Packet): TraceEnd {
    if (tunnel) {
      const through = `the packet is sent through ${this.#hooks.tunnelText(tunnel)}`;
      return this.#finish(through, passed, sent, { tunnel });
    }
    const pod = to === 'peer' ? this.#tracer.pods.at(ifindex) : undefined;
    return pod
      ? this.#finish(`the packet is sent into ${this.#hooks.podText(pod)}`, passed, sent)
      : this.#sendOut(ifindex, mark, passed, sent);
  }

  /** Sends a packet out of an interface, through its egress program if it has one of Heddle. */
  #sendOut(ifindex: number, mark: number, passed: HookResult, sent: Packet): TraceEnd {
    const sentOut = `the packet is sent out of ${this.#hooks.nameOf(ifindex)}`;
    const pod = this.#tracer.pods.at(ifindex);
    if (!pod && !this.#served.has(ifindex)) return this.#finish(sentOut, passed, sent);
    const program = pod ? 'to_pod' : 'node_egress';
    const left = this.#hooks.runTc({ program, ifindex, frame: passed.frame, mark });
    if (left.verdict) return { verdict: left.verdict };
    const into = pod ? `the packet is sent into ${this.#hooks.podText(pod)}` : sentOut;
    return this.#finish(into, { frame: left.frame, steps: passed.steps }, sent);
  }

  /** Ends the trace of a packet that has left the node or is delivered; `sentOut` begins the sentence. */
  #finish(
    sentOut: string,
    { frame, steps }: HookResult,
    sent: Packet,
    more: Pick<Verdict, 'tunnel'> = {},
  ): TraceEnd {
    const now = describePacket(Packet.parse(frame));
    const { ends } = now;
    const packet = { packet: now.text, frame: Buffer.from(frame).toString('hex'), ...more };
    const before = describePacket(sent);
    if (before.text === now.text) {
      const text = `${sentOut} to ${textOf(ends)} unchanged`;
      return { verdict: { outcome: 'passed', text, ...destinationOf(ends), ...packet }, ends };
    }
    if (now.inner) {
      const address = ends.destination;
      const port = backendPort(steps);
      const unchanged = `${sentOut}, unchanged,`;
      const moved =
        port === 0
          ? { address, text: `${unchanged} to ${address}` }
          : this.#tracer.translated(unchanged, address, port, steps);
      const text = `${moved.text}, in a tunnel to the backend’s node, which replies to the client itself`;
      return { verdict: { ...moved, outcome: 'tunnelled', text, ...packet }, ends };
    }
    const isError = ends.destinationPort === 0;
    if (!isError) {
      const moved = this.#tracer.translated(sentOut, ends.destination, ends.destinationPort, steps);
      const from =
        before.ends.source === ends.source && before.ends.sourcePort === ends.sourcePort
          ? ''
          : `, ${this.#asWhom(before.ends, ends)} ${formatEndpoint(ends.source, ends.sourcePort)}`;
      return { verdict: { ...moved, text: `${moved.text}${from}`, ...packet }, ends };
    }
    if (now.kind === before.kind && /echo/.test(now.kind)) {
      const text = `${sentOut} to ${ends.destination}, ${this.#asWhom(before.ends, ends)} ${ends.source}`;
      return { verdict: { outcome: 'translated', text, ...destinationOf(ends), ...packet }, ends };
    }
    const text = `${sentOut} to ${ends.destination}, rewritten to the addresses that it knows`;
    return { verdict: { outcome: 'translated', text, ...destinationOf(ends), ...packet }, ends };
  }

  /** A pod's first packet to its destination gets another source only by masquerading. */
  #asWhom(before: Ends, { destination }: Ends): string {
    const { at, reply } = this.#question;
    const isToOutside = at === 'pod' && !reply && before.destination === destination;
    return isToOutside ? 'masqueraded as' : 'from';
  }

  /** Looks up the route to an address; undefined if the dump has no routes. */
  #route(address: string): { result: number; ifindex: number; meaning: string } | undefined {
    const { dump, node } = this.#tracer;
    if (!dump.network) return undefined;
    const route = new Uint8Array(ROUTE);
    const bytes = parseIp(address)!;
    const isV4 = !address.includes(':');
    route[0] = isV4 ? AF_INET : AF_INET6;
    route.set(isV4 ? bytes.subarray(12) : bytes, DESTINATION);
    const result = dumpedRoutes(dump.network)(route, 0);
    const isRoute = result === fib.success || result === fib.noNeighbour;
    return {
      result,
      ifindex: isRoute ? new DataView(route.buffer).getUint32(ROUTE_IFINDEX, true) : 0,
      meaning: new StepDescriber(dump, node.specs.node).route({ kind: 'route', result, route }),
    };
  }
}

/** Returns the port of the backend that was looked up last, or 0. */
function backendPort(steps: readonly Step[]): number {
  const entries = steps.filter((step) => step.kind === 'entry');
  const backend = entries.findLast(({ map, value }) => map === 'backends' && value)?.value;
  return Number((backend as DecodedFields | undefined)?.port ?? 0);
}

const destinationOf = ({ destination, destinationPort }: Ends) => ({
  address: destination,
  port: destinationPort,
});

const textOf = ({ destination, destinationPort }: Ends) =>
  destinationPort === 0 ? destination : formatEndpoint(destination, destinationPort);
