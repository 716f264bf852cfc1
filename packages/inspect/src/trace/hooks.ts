import { Packet } from '@heddle/lab';
import type { Redirection } from '@heddle/vm';
import { type DescribedPacket, describePacket } from './packet.ts';
import type { TracedPod } from './pods.ts';
import type { Reason, Step, Verdict } from './result.ts';
import type { Tracer } from './tracer.ts';
import { type Tunnel, tunnelKeyOf, tunnelOf } from './tunnel.ts';

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

/** The way by which a packet leaves a hook. */
export interface WayOut {
  readonly ifindex: number;
  /** The mark that the programs set. */
  readonly mark: number;
  readonly to: Redirection['to'];
  /** The tunnel that the packet is sent through. */
  readonly tunnel?: Tunnel;
}

/** The result of a hook for a packet. */
export interface HookResult {
  readonly frame: Uint8Array;
  readonly steps: readonly Step[];
  /** Present when the trace ends at this hook. */
  readonly verdict?: Verdict;
  /** The interface that the packet is sent through. */
  readonly out?: WayOut;
}

type TcProgram = 'node_ingress' | 'node_egress' | 'from_tunnel' | 'from_pod' | 'to_pod';

/** A packet at the tc hook of an interface. */
export interface AtHook {
  readonly program: TcProgram;
  readonly ifindex: number;
  readonly frame: Uint8Array;
  readonly mark?: number;
  /** The tunnel that the packet has come through. */
  readonly tunnel?: Tunnel | undefined;
}

const nextOf: Readonly<Record<TcProgram, string>> = {
  node_ingress: 'it continues to the node’s stack',
  node_egress: 'it leaves the node',
  from_tunnel: 'it continues to the node’s stack',
  from_pod: 'it continues to the node’s stack',
  to_pod: 'it goes into the pod',
};

/** Runs the programs at network interfaces, each for one packet. */
export class PacketHooks {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Runs the XDP program of an interface, if it has one; it runs before everything else. */
  runXdp(ifindex: number, frame: Uint8Array): HookResult | undefined {
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
        ? `${inner ? 'encapsulated' : 'translated'}, it is sent out of ${this.nameOf(ifindex)} again`
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
    if (result.returnValue !== XDP_TX) return undefined;
    return { ...passed, out: { ifindex, mark: 0, to: 'egress' } };
  }

  /** Runs the tc program of an interface. */
  runTc({ program: name, ifindex, frame, mark = 0, tunnel }: AtHook): HookResult {
    const tracer = this.#tracer;
    const { machine } = tracer.node.host;
    const object = name.endsWith('_pod') ? 'pod' : 'node';
    const context = new Uint8Array(CONTEXT);
    const view = new DataView(context.buffer);
    view.setUint32(IFINDEX, ifindex, true);
    view.setUint32(TC_INDEX, mark, true);
    machine.arrivedThrough = tunnel && tunnelKeyOf(tunnel);
    const { result, steps, reason } = tracer.record(object, () => {
      const run = tracer.node
        .program(name)
        .testRun({ data: frame, dataRoom: frame.length + 4096, context });
      return { ...run, redirection: machine.redirection, sentThrough: machine.sentThrough };
    });
    const before = describePacket(Packet.parse(frame));
    const after = describePacket(Packet.parse(result.data));
    const verdict = verdictOf(result.returnValue, before, after, reason, result.data);
    const { redirection, sentThrough } = result;
    const isSent = result.returnValue === REDIRECT && redirection !== undefined;
    const out = isSent && {
      ...{ ifindex: redirection.ifindex, to: redirection.to },
      mark: new DataView(result.context.buffer, result.context.byteOffset).getUint32(
        TC_INDEX,
        true,
      ),
      ...(sentThrough ? { tunnel: tunnelOf(sentThrough) } : {}),
    };
    const next = name === 'node_egress' || !out ? nextOf[name] : this.#sentText(out);
    const changed =
      before.text === after.text
        ? `unchanged, ${next}`
        : `${after.inner ? 'encapsulated' : 'translated'}, ${next}`;
    const hook = `${name}@${this.nameOf(ifindex)}`;
    tracer.passed(
      {
        ...{ hook, steps, result: verdict?.text ?? changed },
        ...(result.returnValue === DROP ? {} : { packet: after.text }),
      },
      this.#attached(hook, object === 'pod' ? name : hook, ifindex),
      object,
      name,
    );
    return {
      ...{ frame: result.data, steps },
      ...(verdict ? { verdict } : {}),
      ...(out ? { out } : {}),
    };
  }

  /** Returns the name of an interface. */
  nameOf(ifindex: number): string {
    const link = this.#tracer.dump.network?.links.find(({ index }) => index === ifindex);
    return link?.name ?? `interface ${ifindex}`;
  }

  /** Returns a pod by its name and interface. */
  podText({ ifindex, name }: TracedPod): string {
    return name === undefined
      ? `the pod at ${this.nameOf(ifindex)}`
      : `pod ${name} (${this.nameOf(ifindex)})`;
  }

  /** Returns a tunnel by the node at its other end. */
  tunnelText({ to, id }: Tunnel): string {
    const name = this.#tracer.pods.nodeName(to);
    return name === undefined
      ? `the tunnel to ${to} (VXLAN ${id})`
      : `the tunnel to ${name} (${to}, VXLAN ${id})`;
  }

  #sentText({ ifindex, to, tunnel }: WayOut): string {
    const pod = this.#tracer.pods.at(ifindex);
    if (pod) return `it is sent into ${this.podText(pod)}${to === 'peer' ? ' past the stack' : ''}`;
    if (tunnel) return `it is sent through ${this.tunnelText(tunnel)} at ${this.nameOf(ifindex)}`;
    return `it is sent out of ${this.nameOf(ifindex)}`;
  }

  /** Returns the id of the program at a hook: by its link, or its filter. */
  #attached(hook: string, filter: string, ifindex: number): number | undefined {
    const { links, network } = this.#tracer.dump;
    const link = links.find(({ pin }) => pin === hook)?.info;
    if (link?.kind === 'tcx' && link.ifindex === ifindex) return link.programId;
    return network?.filters?.find((each) => each.hook === filter)?.programId;
  }
}

/** Returns the verdict if the packet's path ends at a hook. */
function verdictOf(
  returnValue: number,
  before: DescribedPacket,
  { kind, text: packet }: DescribedPacket,
  reason: Reason | undefined,
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
