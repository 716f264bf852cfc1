import { Packet } from '@heddle/lab';
import { formatEndpoint, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import type { DecodedFields } from './decode.ts';
import {
  type DescribedPacket,
  describePacket,
  type Ends,
  errorAbout,
  frameFor,
  fromTo,
  inverseOf,
  packetOf,
} from './packet.ts';
import type { Question } from './question.ts';
import type { Step, Verdict } from './result.ts';
import { dumpedRoutes, fib } from './routes.ts';
import { StepDescriber } from './step-describer.ts';
import { elements, type Tracer } from './tracer.ts';

/** TC_ACT_*, which node.bpf.c returns. */
const DROP = 2;
const REDIRECT = 7;
/** XDP_*, which xdp.bpf.c returns. */
const XDP_DROP = 1;
const XDP_TX = 3;

// Offsets in struct __sk_buff.
const IFINDEX = 40;
const TC_INDEX = 44;
const CONTEXT = 48;
// Offsets in struct xdp_md.
const XDP_INGRESS = 12;
const XDP_CONTEXT = 24;
// Offsets in struct bpf_fib_lookup, and its size.
const ROUTE = 64;
const ROUTE_IFINDEX = 8;
const DESTINATION = 32;

const notHere =
  'the backend’s node replies to the client itself; the reply does not pass this node';

/** The end of a trace. */
interface TraceEnd {
  readonly verdict: Verdict;
  /** The ends of the packet that is sent on; absent when none is. */
  readonly ends?: Ends;
}

/** The result of a hook for a packet. */
interface HookResult {
  readonly frame: Uint8Array;
  readonly steps: readonly Step[];
  /** Present when the trace ends at this hook. */
  readonly verdict?: Verdict;
  /** The interface that the packet is sent through, with the mark that the programs set. */
  readonly out?: { readonly ifindex: number; readonly mark: number };
}

/** Traces a packet through the programs at the node's interfaces, and through its routes between them. */
export function tracePacket(tracer: Tracer, question: Question): Verdict {
  return new PacketTracer(tracer, question).trace();
}

class PacketTracer {
  readonly #tracer: Tracer;
  readonly #question: Question;
  readonly #served: ReadonlySet<number>;

  constructor(tracer: Tracer, question: Question) {
    this.#tracer = tracer;
    this.#question = question;
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
    } = this.#question;
    const { notes } = this.#tracer;
    const ends = {
      ...{ source, sourcePort: protocol === 'icmp' ? 0 : sourcePort },
      ...{ destination: address, destinationPort: port },
    };
    if (at === 'pod') {
      notes.push(
        'Heddle has no program at the interfaces of pods: a packet from a pod takes the node’s own routes (service addresses are translated at the socket: --at socket)',
      );
      return this.#send(packetOf(protocol, ends, 'first', flags)).verdict;
    }
    if (namespace) {
      notes.push(
        'a packet from a process of this node does not enter through an interface: it is traced as an external packet',
      );
    }
    if (!flow && !reply && !error) {
      return this.#enterNode(packetOf(protocol, ends, 'first', flags), 'usual').verdict;
    }
    let beyond: Ends;
    if (flow?.forwarding === 'dsr' && reply) {
      notes.push(notHere);
      return this.#enterNode(packetOf(protocol, ends, 'later', flags), 'usual').verdict;
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
      const first = this.#enterNode(packetOf(protocol, ends, 'first'), 'usual');
      if (first.verdict.outcome === 'tunnelled' && reply) {
        notes.push(notHere);
        return first.verdict;
      }
      const isServed = ['translated', 'tunnelled'].includes(first.verdict.outcome);
      if (!isServed || !first.ends) {
        notes.push('no backend receives the packet, so none replies');
        return first.verdict;
      }
      beyond = first.ends;
    }
    const position = flow ? 'later' : 'answer';
    if (!reply) {
      if (!error) return this.#enterNode(packetOf(protocol, ends, 'later', flags), 'usual').verdict;
      const back = inverseOf(ends);
      const about = packetOf(protocol, back, position);
      return this.#enterNode(errorAbout(error, about, back), 'usual').verdict;
    }
    const packet = error
      ? errorAbout(error, packetOf(protocol, beyond, flow ? 'later' : 'first'), beyond)
      : packetOf(protocol, inverseOf(beyond), position, flags);
    return this.#enterNode(packet, 'by route').verdict;
  }

  /**
   * Traces a packet that enters by the interface with the route to its sender. If Heddle does not serve
   * that interface, the packet enters by another one (`usual`), or as a pod's packet, which no ingress
   * program sees (`by route`).
   */
  #enterNode(packet: Packet, by: 'usual' | 'by route'): TraceEnd {
    const { source } = describePacket(packet).ends;
    const { network } = this.#tracer.dump;
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
    const xdp = this.#runXdp(link.index, frame);
    if (xdp?.verdict) return { verdict: xdp.verdict };
    if (xdp?.out) return this.#finish(`the packet is sent out of ${link.name}`, xdp, packet);
    const entered = this.#runTc('ingress', link.index, frame, 0);
    if (entered.verdict) return { verdict: entered.verdict };
    if (!entered.out) return this.#routeByStack(entered, packet);
    return this.#sendOut(entered.out.ifindex, entered.out.mark, entered, packet);
  }

  /** Traces a packet of the node itself or of one of its pods. */
  #send(packet: Packet): TraceEnd {
    return this.#routeByStack({ frame: frameFor('02:00:00:00:00:01', packet), steps: [] }, packet);
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
        ? `it is sent out of ${this.#name(route.ifindex)}`
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

  /** Sends a packet out of an interface, through its egress program if Heddle serves it. */
  #sendOut(ifindex: number, mark: number, passed: HookResult, sent: Packet): TraceEnd {
    const sentOut = `the packet is sent out of ${this.#name(ifindex)}`;
    if (!this.#served.has(ifindex)) return this.#finish(sentOut, passed, sent);
    const left = this.#runTc('egress', ifindex, passed.frame, mark);
    if (left.verdict) return { verdict: left.verdict };
    return this.#finish(sentOut, { frame: left.frame, steps: passed.steps }, sent);
  }

  /** Runs the XDP program of an interface, if it has one; it runs before everything else. */
  #runXdp(ifindex: number, frame: Uint8Array): HookResult | undefined {
    const tracer = this.#tracer;
    const link = tracer.dump.links.find(
      ({ info }) => info.kind === 'xdp' && info.ifindex === ifindex,
    );
    if (!link) return undefined;
    const context = new Uint8Array(XDP_CONTEXT);
    new DataView(context.buffer).setUint32(XDP_INGRESS, ifindex, true);
    const { result, steps, reason } = tracer.record('xdp', () =>
      tracer.node
        .program('node_xdp')
        .testRun({ data: frame, dataRoom: frame.length + 4096, context }),
    );
    const isDropped = result.returnValue === XDP_DROP;
    const { text: packet, inner } = describePacket(Packet.parse(result.data));
    const why = reason ? `: ${reason.text}` : '';
    const text = isDropped
      ? `the packet is dropped${why}`
      : result.returnValue === XDP_TX
        ? `${inner ? 'encapsulated' : 'translated'}, it is sent out of ${this.#name(ifindex)} again`
        : 'unchanged, it continues to node_ingress';
    tracer.passed(
      { hook: link.pin, steps, result: text, ...(isDropped ? {} : { packet }) },
      link.info.programId,
      'xdp',
      'node_xdp',
    );
    const passed = { frame: result.data, steps };
    if (isDropped) {
      return { ...passed, verdict: { outcome: 'dropped', text, ...(reason ? { reason } : {}) } };
    }
    return result.returnValue === XDP_TX ? { ...passed, out: { ifindex, mark: 0 } } : undefined;
  }

  /** Runs the tc program of an interface. */
  #runTc(
    direction: 'ingress' | 'egress',
    ifindex: number,
    frame: Uint8Array,
    mark: number,
  ): HookResult {
    const tracer = this.#tracer;
    const { host } = tracer.node;
    const name = `node_${direction}`;
    const context = new Uint8Array(CONTEXT);
    const view = new DataView(context.buffer);
    view.setUint32(IFINDEX, ifindex, true);
    view.setUint32(TC_INDEX, mark, true);
    const { result, steps, reason } = tracer.record('node', () => {
      const run = tracer.node
        .program(name)
        .testRun({ data: frame, dataRoom: frame.length + 4096, context });
      return { ...run, redirection: host.machine.redirection };
    });
    const before = describePacket(Packet.parse(frame));
    const after = describePacket(Packet.parse(result.data));
    const passed = this.#verdictOf(result.returnValue, before, after, reason, result.data);
    const out =
      result.returnValue === REDIRECT && result.redirection
        ? {
            ifindex: result.redirection.ifindex,
            mark: new DataView(result.context.buffer, result.context.byteOffset).getUint32(
              TC_INDEX,
              true,
            ),
          }
        : undefined;
    const device = this.#name(ifindex);
    const hook = `${name}@${device}`;
    const link = tracer.dump.links.find(({ pin }) => pin === hook)?.info;
    const isThere = link?.kind === 'tcx' && link.ifindex === ifindex;
    const next =
      direction === 'egress'
        ? 'it leaves the node'
        : out
          ? `it is sent out of ${this.#name(out.ifindex)}`
          : 'it continues to the node’s stack';
    const changed =
      before.text === after.text
        ? `unchanged, ${next}`
        : `${after.inner ? 'encapsulated' : 'translated'}, ${next}`;
    tracer.passed(
      {
        ...{ hook, steps, result: passed?.text ?? changed },
        ...(result.returnValue === DROP ? {} : { packet: after.text }),
      },
      isThere ? link.programId : undefined,
      'node',
      name,
    );
    return {
      ...{ frame: result.data, steps },
      ...(passed ? { verdict: passed } : {}),
      ...(out ? { out } : {}),
    };
  }

  /** Returns the verdict if the packet's path ends at a hook. */
  #verdictOf(
    returnValue: number,
    before: DescribedPacket,
    { kind, text: packet }: DescribedPacket,
    reason: { name: string; text: string } | undefined,
    data: Uint8Array,
  ): Verdict | undefined {
    const why = reason ? `: ${reason.text}` : '';
    const because = reason ? { reason } : {};
    if (returnValue === DROP) {
      return { outcome: 'dropped', text: `the packet is dropped${why}`, ...because };
    }
    const answer = { packet, frame: Buffer.from(data).toString('hex') };
    if (reason) {
      const text = `the packet is answered with ${kind}${why}`;
      return { outcome: 'rejected', text, reason, ...answer };
    }
    if (/echo-request$/.test(before.kind) && /echo-reply$/.test(kind)) {
      const text = 'Heddle replies to the echo request, because no host has the address';
      return { outcome: 'answered', text, ...answer };
    }
    return undefined;
  }

  /** Ends the trace of a packet that has left the node or is delivered; `sentOut` begins the sentence. */
  #finish(sentOut: string, { frame, steps }: HookResult, sent: Packet): TraceEnd {
    const now = describePacket(Packet.parse(frame));
    const { ends } = now;
    const packet = { packet: now.text, frame: Buffer.from(frame).toString('hex') };
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
          : `, from ${formatEndpoint(ends.source, ends.sourcePort)}`;
      return { verdict: { ...moved, text: `${moved.text}${from}`, ...packet }, ends };
    }
    const text = `${sentOut} to ${ends.destination}, rewritten to the addresses that it knows`;
    return { verdict: { outcome: 'translated', text, ...destinationOf(ends), ...packet }, ends };
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

  #name(ifindex: number): string {
    const link = this.#tracer.dump.network?.links.find(({ index }) => index === ifindex);
    return link?.name ?? `interface ${ifindex}`;
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
