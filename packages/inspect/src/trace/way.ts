import { Packet } from '@heddle/lab';
import { formatEndpoint, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import type { DecodedFields } from './decode.ts';
import {
  type Described,
  describePacket,
  type Ends,
  errorAbout,
  frameFor,
  fromTo,
  packetOf,
  turned,
} from './packet.ts';
import type { Question } from './question.ts';
import type { Step, Verdict } from './result.ts';
import { dumpedRoutes, fib } from './routes.ts';
import { elements, type Tracer } from './tracer.ts';
import { Words } from './words.ts';

/** TC_ACT_*, as node.bpf.c answers. */
const DROP = 2;
const REDIRECT = 7;
/** XDP_*, as xdp.bpf.c answers. */
const XDP_DROP = 1;
const XDP_TX = 3;

// struct __sk_buff, as far as it is given
const IFINDEX = 40;
const TC_INDEX = 44;
const CONTEXT = 48;
// struct xdp_md
const XDP_INGRESS = 12;
const XDP_CONTEXT = 24;
// struct bpf_fib_lookup
const ROUTE = 64;
const ROUTE_IFINDEX = 8;
const DESTINATION = 32;

const notHere = 'the backend’s node answers the client itself: this node sees nothing of that';

/** Where a packet has come to. */
interface Reached {
  readonly verdict: Verdict;
  /** As it goes on; absent when it doesn't. */
  readonly ends?: Ends;
}

/** What a hook made of a packet. */
interface Passed {
  readonly frame: Uint8Array;
  readonly steps: readonly Step[];
  /** The way is at its end. */
  readonly verdict?: Verdict;
  /** Sent out of a device, with the mark that the programs leave on it. */
  readonly out?: { readonly ifindex: number; readonly mark: number };
}

/** The way of a packet through the node: its devices' programs, and its own routes between them. */
export function tracePacket(tracer: Tracer, question: Question): Verdict {
  return new Way(tracer, question).trace();
}

class Way {
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
        'Heddle has no program at the devices of pods: what a pod sends goes by the node’s own routes (addresses of services are translated where a socket is made: --at socket)',
      );
      return this.#send(packetOf(protocol, ends, 'first', flags)).verdict;
    }
    if (namespace) {
      notes.push(
        'what a process of this node sends enters by no device of it: the packet is traced as if it came from outside',
      );
    }
    if (!flow && !reply && !error) {
      return this.#enter(packetOf(protocol, ends, 'first', flags), 'usual').verdict;
    }
    let beyond: Ends;
    if (flow?.forwarding === 'dsr' && reply) {
      notes.push(notHere);
      return this.#enter(packetOf(protocol, ends, 'later', flags), 'usual').verdict;
    }
    if (flow) {
      const { source: seen, sourcePort: seenPort, backend, backendPort } = flow;
      beyond = {
        ...{ source: seen, sourcePort: seenPort },
        ...{ destination: backend, destinationPort: backendPort },
      };
      notes.push(
        `flow ${flow.number} is ${flow.state}; the backend knows what is ${fromTo(ends)} as ${fromTo(beyond)}`,
      );
    } else {
      const first = this.#enter(packetOf(protocol, ends, 'first'), 'usual');
      if (first.verdict.outcome === 'tunnelled' && reply) {
        notes.push(notHere);
        return first.verdict;
      }
      const isServed = ['translated', 'tunnelled'].includes(first.verdict.outcome);
      if (!isServed || !first.ends) {
        notes.push('no backend gets the packet, so there is none that could answer');
        return first.verdict;
      }
      beyond = first.ends;
    }
    const moment = flow ? 'later' : 'answer';
    if (!reply) {
      if (!error) return this.#enter(packetOf(protocol, ends, 'later', flags), 'usual').verdict;
      const back = turned(ends);
      const about = packetOf(protocol, back, moment);
      return this.#enter(errorAbout(error, about, back), 'usual').verdict;
    }
    const packet = error
      ? errorAbout(error, packetOf(protocol, beyond, flow ? 'later' : 'first'), beyond)
      : packetOf(protocol, turned(beyond), moment, flags);
    return this.#enter(packet, 'by route').verdict;
  }

  /**
   * A packet comes from its sender by the device that leads there. `usual`: if Heddle does not serve
   * that, by another one; `by route`: as a pod's packet then, past ingress programs.
   */
  #enter(packet: Packet, by: 'usual' | 'by route'): Reached {
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
      const why = `Heddle serves no device of this node: the packet goes to ${formatEndpoint(ends.destination, ends.destinationPort)} itself`;
      return { verdict: { outcome: 'passed', text: why, ...goal(ends), packet: text }, ends };
    }
    const frame = frameFor(link.address, packet);
    const early = this.#early(link.index, frame);
    if (early?.verdict) return { verdict: early.verdict };
    if (early?.out) return this.#arrived(`the packet goes out of ${link.name}`, early, packet);
    const entered = this.#hook('ingress', link.index, frame, 0);
    if (entered.verdict) return { verdict: entered.verdict };
    if (!entered.out) return this.#byStack(entered, packet);
    return this.#leave(entered.out.ifindex, entered.out.mark, entered, packet);
  }

  /** A packet of the node itself or of one of its pods. */
  #send(packet: Packet): Reached {
    return this.#byStack({ frame: frameFor('02:00:00:00:00:01', packet), steps: [] }, packet);
  }

  /** The node's own routing has a packet. */
  #byStack(passed: Passed, sent: Packet): Reached {
    const now = describePacket(Packet.parse(passed.frame));
    const { destination } = now.ends;
    const route = this.#route(destination);
    if (!route) {
      this.#tracer.notes.push('the node’s routes are not known: where it leads is not told');
      return this.#arrived('the packet goes', passed, sent);
    }
    const isOwn = route.result === fib.notForwarded;
    const isRouted = route.result === fib.success || route.result === fib.noNeighbour;
    const result = isOwn
      ? 'it is for this node itself'
      : isRouted
        ? `it is sent out of ${this.#name(route.ifindex)}`
        : 'it goes no further';
    this.#tracer.hooks.push({
      ...{ hook: 'stack', steps: [{ kind: 'route', meaning: route.meaning }], result },
      packet: now.text,
    });
    if (isOwn) return this.#arrived('the packet goes, by this node’s own stack,', passed, sent);
    if (!isRouted) {
      const text = `this node’s own stack does not forward the packet: ${route.meaning}`;
      return { verdict: { outcome: 'dropped', text } };
    }
    return this.#leave(route.ifindex, 0, passed, sent);
  }

  /** A packet goes out of a device, past its egress program if Heddle serves it. */
  #leave(ifindex: number, mark: number, passed: Passed, sent: Packet): Reached {
    const way = `the packet goes out of ${this.#name(ifindex)}`;
    if (!this.#served.has(ifindex)) return this.#arrived(way, passed, sent);
    const left = this.#hook('egress', ifindex, passed.frame, mark);
    if (left.verdict) return { verdict: left.verdict };
    return this.#arrived(way, { frame: left.frame, steps: passed.steps }, sent);
  }

  /** Runs a device's XDP program, if it has one: before all else. */
  #early(ifindex: number, frame: Uint8Array): Passed | undefined {
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
        ? `${inner ? 'put into a tunnel' : 'translated'}, it is sent out of ${this.#name(ifindex)} again`
        : 'unchanged, it goes on to node_ingress';
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

  /** Runs a device's program of traffic control. */
  #hook(direction: 'ingress' | 'egress', ifindex: number, frame: Uint8Array, mark: number): Passed {
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
    const passed = this.#judge(result.returnValue, before, after, reason, result.data);
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
    const goesOn =
      direction === 'egress'
        ? 'it leaves the node'
        : out
          ? `it is sent out of ${this.#name(out.ifindex)}`
          : 'it goes on to the node’s own stack';
    const changed =
      before.text === after.text
        ? `unchanged, ${goesOn}`
        : `${after.inner ? 'put into a tunnel' : 'translated'}, ${goesOn}`;
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

  /** What ends a packet's way at a hook. */
  #judge(
    returnValue: number,
    before: Described,
    { kind, text: packet }: Described,
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
      const text = 'Heddle answers the echo request, as the address is none that a host has';
      return { outcome: 'answered', text, ...answer };
    }
    return undefined;
  }

  /** The way's end: the packet is no more the node's affair, or is delivered. */
  #arrived(way: string, { frame, steps }: Passed, sent: Packet): Reached {
    const now = describePacket(Packet.parse(frame));
    const { ends } = now;
    const packet = { packet: now.text, frame: Buffer.from(frame).toString('hex') };
    const before = describePacket(sent);
    if (before.text === now.text) {
      const text = `${way} to ${placeOf(ends)} itself`;
      return { verdict: { outcome: 'passed', text, ...goal(ends), ...packet }, ends };
    }
    if (now.inner) {
      const address = ends.destination;
      const port = backendPort(steps);
      const as = `${way}, as it is,`;
      const moved =
        port === 0
          ? { address, text: `${as} to ${address}` }
          : this.#tracer.translated(as, address, port, steps);
      const text = `${moved.text}, in a tunnel to its node, which answers the client itself`;
      return { verdict: { ...moved, outcome: 'tunnelled', text, ...packet }, ends };
    }
    const isError = ends.destinationPort === 0;
    if (!isError) {
      const moved = this.#tracer.translated(way, ends.destination, ends.destinationPort, steps);
      const as =
        before.ends.source === ends.source && before.ends.sourcePort === ends.sourcePort
          ? ''
          : `, as from ${formatEndpoint(ends.source, ends.sourcePort)}`;
      return { verdict: { ...moved, text: `${moved.text}${as}`, ...packet }, ends };
    }
    const text = `${way} to ${ends.destination}, in words that it knows`;
    return { verdict: { outcome: 'translated', text, ...goal(ends), ...packet }, ends };
  }

  /** Where the node's routes lead; undefined without routes. */
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
      meaning: new Words(dump, node.specs.node).route({ kind: 'route', result, route }),
    };
  }

  #name(ifindex: number): string {
    const link = this.#tracer.dump.network?.links.find(({ index }) => index === ifindex);
    return link?.name ?? `device ${ifindex}`;
  }
}

/** Port of the backend that was looked at last; 0: none was. */
function backendPort(steps: readonly Step[]): number {
  const entries = steps.filter((step) => step.kind === 'entry');
  const backend = entries.findLast(({ map, value }) => map === 'backends' && value)?.value;
  return Number((backend as DecodedFields | undefined)?.port ?? 0);
}

const goal = ({ destination, destinationPort }: Ends) => ({
  address: destination,
  port: destinationPort,
});

const placeOf = ({ destination, destinationPort }: Ends) =>
  destinationPort === 0 ? destination : formatEndpoint(destination, destinationPort);
