import type { ObjectSpec } from '@heddle/ebpf';
import { errnoNames, formatEndpoint, parseIp } from '@heddle/sys';
import { addressOf, familyOf, SocketHandle, textOf } from '@heddle/vm';
import { type Dump, entriesOf, mapNamed } from '../dump/dump.ts';
import type { DecodedFields } from './decode.ts';
import { TracedNode } from './node.ts';
import { Packets } from './packet.ts';
import { type Asked, type Question, understand } from './question.ts';
import { type Note, Recorder } from './recorder.ts';
import { dumpedRoutes, fib } from './routes.ts';
import { programTags } from './tags.ts';
import { type Explained, placeText, Words } from './words.ts';

/** What a program did, in order. */
export type Step =
  | ({ readonly kind: 'entry' } & Explained)
  | { readonly kind: 'route'; readonly meaning: string }
  | { readonly kind: 'line'; readonly source: string };

export interface HookTrace {
  /** Name of the hook, e.g. `connect4` or `node_ingress@eth0`. */
  readonly hook: string;
  /** What is attached there; absent when nothing is, or the kernel does not say. */
  readonly program?: { readonly id: number; readonly tag: string };
  /** Whether the attached program is the one that ran here; absent when that can't be told. */
  readonly same?: boolean;
  readonly steps: readonly Step[];
  /** What the program answered, in words. */
  readonly result: string;
}

export interface Verdict {
  /**
   * `translated`: goes to `address` and `port`. `passed`: goes where it was sent. `refused`: the call
   * fails with `errno`. `rejected`: the packet is answered with a reset or an ICMP error. `dropped`.
   */
  readonly outcome: 'translated' | 'passed' | 'refused' | 'rejected' | 'dropped';
  readonly text: string;
  readonly address?: string;
  readonly port?: number;
  readonly errno?: string;
  /** Number's name in abi.h, and what it says. */
  readonly reason?: { readonly name: string; readonly text: string };
  /** Where else it could have gone, when the choice is by chance. */
  readonly alternatives?: readonly { readonly address: string; readonly port: number }[];
  /** The packet as it goes on, or the answer. */
  readonly packet?: string;
}

export interface Trace {
  readonly question: Question;
  /** What the answer rests on. */
  readonly of: { readonly created: string; readonly kernel: string; readonly heddle: string };
  /** What makes the answer less than certain. */
  readonly notes: readonly string[];
  readonly hooks: readonly HookTrace[];
  readonly verdict: Verdict;
}

/** TC_ACT_*, as node.bpf.c answers. */
const DROP = 2;
const REDIRECT = 7;

const IPPROTO = { tcp: 6, udp: 17 } as const;
const SOCKET_TYPE = { tcp: 1, udp: 2 } as const;
const AF_INET = 2;
const AF_INET6 = 10;

/**
 * Runs the node's programs on copies of its maps, for one socket call or packet. With `withLines`,
 * steps have every source line. Throws Failure, and VmFault when a program does what it may not.
 */
export function trace(dump: Dump, asked: Asked, withLines = false): Trace {
  const question = understand(dump, asked);
  using node = new TracedNode(dump);
  const tracer = new Tracer(dump, node, question, withLines);
  const { hook, verdict } = question.at === 'socket' ? tracer.socket() : tracer.packet();
  const { created, kernel, heddle } = dump.head;
  return {
    question,
    of: { created, kernel, heddle },
    notes: [...tracer.notes, ...cutMaps(dump)],
    hooks: hook ? [hook] : [],
    verdict,
  };
}

interface Outcome {
  readonly hook?: HookTrace;
  readonly verdict: Verdict;
}

class Tracer {
  readonly notes: string[] = [];
  readonly #dump: Dump;
  readonly #node: TracedNode;
  readonly #question: Question;
  readonly #withLines: boolean;

  constructor(dump: Dump, node: TracedNode, question: Question, withLines: boolean) {
    this.#dump = dump;
    this.#node = node;
    this.#question = question;
    this.#withLines = withLines;
  }

  /** connect() of TCP, sendmsg() of UDP. */
  socket(): Outcome {
    const { address, port, protocol, namespace } = this.#question;
    const { host, specs } = this.#node;
    const isV4 = !address.includes(':');
    const call = protocol === 'tcp' ? 'connect' : 'sendmsg';
    const name = `${call}${isV4 ? 4 : 6}`;
    const to = formatEndpoint(address, port);
    if (namespace!.isServed === false) {
      const text = `its processes are not in the cgroup that Heddle serves: the socket goes to ${to} itself`;
      return { verdict: { outcome: 'passed', text, address, port } };
    }
    if (namespace!.isServed === undefined) {
      this.notes.push(
        'no process of the pod was seen: whether Heddle serves its cgroup is not known',
      );
    }
    const link = this.#dump.links.find(({ pin }) => pin === name);
    if (link?.info.kind !== 'cgroup' || link.info.cgroupId === 0n) {
      const text = `nothing of Heddle is attached at ${name}: the socket goes to ${to} itself`;
      return { verdict: { outcome: 'passed', text, address, port } };
    }
    const family = isV4 ? AF_INET : AF_INET6;
    const socket = new SocketHandle(host.machine.memory, {
      ...{ family, type: SOCKET_TYPE[protocol], protocol: IPPROTO[protocol] },
      ...{ netnsCookie: namespace!.cookie, cookie: 1n },
    });
    const wanted = { address: addressOf(address), port };
    const recorder = new Recorder(host.machine, this.#withLines);
    const { result, endpoint } = recorder.during(() =>
      host.hooks.address(call, familyOf(family, wanted.address, call), socket, host.cgroup, wanted),
    );
    socket.dispose();
    const words = new Words(this.#dump, specs.socket);
    const steps = stepsOf(recorder.notes, words);
    const verdict = this.#socketVerdict(
      result,
      textOf(endpoint.address),
      endpoint.port,
      recorder.notes,
      steps,
      words,
    );
    return {
      hook: {
        ...this.#attached(name, link.info.programId, specs.socket, name),
        steps,
        result: verdict.text,
      },
      verdict,
    };
  }

  #socketVerdict(
    result: number,
    address: string,
    port: number,
    notes: readonly Note[],
    steps: readonly Step[],
    words: Words,
  ): Verdict {
    const { address: asked, port: askedPort } = this.#question;
    if (result < 0) {
      const errno = errnoNames[-result] ?? `errno ${-result}`;
      const number = numberOf(notes, 'refusals');
      const reason = number === undefined ? undefined : words.reason('refusal_reason', number);
      const text = `the call fails with ${errno}${reason ? `: ${reason.text}` : ''}`;
      return { outcome: 'refused', text, errno, ...(reason ? { reason } : {}) };
    }
    if (address === asked && port === askedPort) {
      const text = `the socket goes to ${formatEndpoint(address, port)} itself`;
      return { outcome: 'passed', text, address, port };
    }
    return this.#translated('the socket goes', address, port, steps);
  }

  /** A packet that enters by the device that leads to its sender. */
  packet(): Outcome {
    const { source, address, port, protocol, namespace } = this.#question;
    const { host, specs } = this.#node;
    const to = formatEndpoint(address, port);
    if (namespace) {
      this.notes.push(
        'what a process of this node sends enters by no device of it: the packet is traced as if it came from outside',
      );
    }
    const device = this.#device(source);
    if (!device) {
      const text = `Heddle serves no device of this node: the packet goes to ${to} itself`;
      return { verdict: { outcome: 'passed', text, address, port } };
    }
    const frame = Packets.from(device.mac, source, address, port, protocol);
    const program = this.#node.program('node_ingress');
    // struct __sk_buff up to `ifindex`.
    const context = new Uint8Array(44);
    new DataView(context.buffer).setUint32(40, device.index, true);
    const recorder = new Recorder(host.machine, this.#withLines);
    const { returnValue, data } = recorder.during(() =>
      program.testRun({ data: frame, dataRoom: frame.length + 4096, context }),
    );
    const words = new Words(this.#dump, specs.node);
    const steps = stepsOf(recorder.notes, words);
    const hook = `node_ingress@${device.name}`;
    const verdict = this.#packetVerdict(returnValue, data, recorder.notes, steps, words);
    return {
      hook: {
        ...this.#attached(hook, device.program, specs.node, 'node_ingress'),
        steps,
        result: verdict.text,
      },
      verdict,
    };
  }

  #packetVerdict(
    returnValue: number,
    data: Uint8Array,
    notes: readonly Note[],
    steps: readonly Step[],
    words: Words,
  ): Verdict {
    const { address, port } = this.#question;
    const number = numberOf(notes, 'drops');
    const reason = number === undefined ? undefined : words.reason('drop_reason', number);
    const why = reason ? `: ${reason.text}` : '';
    if (returnValue === DROP) {
      return {
        outcome: 'dropped',
        text: `the packet is dropped${why}`,
        ...(reason ? { reason } : {}),
      };
    }
    const packet = Packets.describe(data);
    if (reason) {
      const text = `the packet is answered with ${packet.kind}${why}`;
      return { outcome: 'rejected', text, reason, packet: packet.text };
    }
    const isSame = packet.address === address && packet.port === port;
    if (isSame) {
      const text = `the packet goes to ${formatEndpoint(address, port)} itself`;
      return { outcome: 'passed', text, address, port };
    }
    const onwards =
      returnValue === REDIRECT ? 'the packet goes' : 'the packet goes, by this node’s own stack,';
    const moved = this.#translated(onwards, packet.address, packet.port, steps);
    return { ...moved, packet: packet.text };
  }

  #translated(who: string, address: string, port: number, steps: readonly Step[]): Verdict {
    const alternatives = this.#alternatives(steps, address, port);
    const chance =
      alternatives.length === 0
        ? ''
        : ` (by chance; it could also be ${alternatives
            .slice(0, 5)
            .map((each) => formatEndpoint(each.address, each.port))
            .join(', ')}${alternatives.length > 5 ? ` and ${alternatives.length - 5} more` : ''})`;
    const text = `${who} to ${formatEndpoint(address, port)}${chance}`;
    const moved = { outcome: 'translated', text, address, port } as const;
    return alternatives.length === 0 ? moved : { ...moved, alternatives };
  }

  /** The other backends of the run that was chosen from, if the choice was by chance. */
  #alternatives(steps: readonly Step[], address: string, port: number) {
    const entries = steps.filter((step) => step.kind === 'entry');
    const service = entries.findLast(({ map, value }) => map === 'services' && value)?.value;
    const slots = entries.filter(({ map }) => map === 'slots');
    const { algorithm, first_slot: first, slot_count: count } = (service ?? {}) as DecodedFields;
    const isChance =
      algorithm === 'ALGORITHM_RANDOM' || algorithm === 'ALGORITHM_LEAST_CONNECTIONS';
    // Who is remembered is not looked up in the run.
    if (!isChance || slots.length === 0) return [];
    const ids = new Set<number>();
    for (const [key, value] of elements(this.#dump, 'slots')) {
      if (key >= Number(first) && key < Number(first) + Number(count)) {
        ids.add(new DataView(value.buffer, value.byteOffset).getUint32(0, true));
      }
    }
    const words = new Words(this.#dump, this.#node.specs.socket);
    const found = new Map<string, { address: string; port: number }>();
    for (const [key, value] of elements(this.#dump, 'backends')) {
      if (!ids.has(key)) continue;
      const backend = words.access({
        kind: 'access',
        map: 'backends',
        action: 'lookup',
        key: word(key),
        value,
      });
      const fields = backend.value as DecodedFields;
      const each = { address: `${fields.address}`, port: Number(fields.port) };
      if (each.address !== address || each.port !== port) {
        found.set(formatEndpoint(each.address, each.port), each);
      }
    }
    return [...found.values()];
  }

  /** The served device that a packet from an address enters by. */
  #device(source: string) {
    const { network, links } = this.#dump;
    if (!network) return undefined;
    const served = elements(this.#dump, 'node_devices').map(([index]) => index);
    const lookup = new Uint8Array(64);
    const bytes = parseIp(source)!;
    const isV4 = !source.includes(':');
    lookup[0] = isV4 ? AF_INET : AF_INET6;
    lookup.set(isV4 ? bytes.subarray(12) : bytes, 32);
    const result = dumpedRoutes(network)(lookup, 0);
    const isRoute = result === fib.success || result === fib.noNeighbour;
    const routed = isRoute ? new DataView(lookup.buffer).getUint32(8, true) : 0;
    const index = served.includes(routed) ? routed : served[0];
    const link = network.links.find((each) => each.index === index);
    if (!link) return undefined;
    const attached = links.find(({ pin }) => pin === `node_ingress@${link.name}`);
    const isThere = attached?.info.kind === 'tcx' && attached.info.ifindex === link.index;
    return {
      name: link.name,
      index: link.index,
      mac: link.address,
      program: isThere ? attached.info.programId : undefined,
    };
  }

  /** Compares what is attached with what ran here. */
  #attached(hook: string, programId: number | undefined, spec: ObjectSpec, name: string) {
    const program = programId === undefined ? undefined : this.#dump.programs.get(programId);
    if (!program) {
      this.notes.push(
        `which program is attached at ${hook} is not known: the one of the object ran here`,
      );
      return { hook };
    }
    const { id, tag } = program;
    const tags = programTags(spec.programs.get(name)!);
    if (!tags) return { hook, program: { id, tag } };
    const same = tags.includes(tag);
    if (!same) {
      this.notes.push(
        `the program attached at ${hook} (id ${id}, tag ${tag}) is not the one of this heddle's object (tag ${tags.join(' or ')}), which ran here: use the heddle that the agent is of`,
      );
    }
    return { hook, program: { id, tag }, same };
  }
}

/** Elements of an array, or of a map with a number as key. */
function elements(dump: Dump, name: string): [key: number, value: Uint8Array][] {
  const map = mapNamed(dump, name);
  if (!map) return [];
  return Array.from(entriesOf(map), ([key, value]) => [
    new DataView(key.buffer, key.byteOffset).getUint32(0, true),
    value,
  ]);
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);

/** The last number that was looked up in a map of counters. */
function numberOf(notes: readonly Note[], map: string): number | undefined {
  const found = notes.findLast((note) => note.kind === 'access' && note.map === map);
  if (found?.kind !== 'access') return undefined;
  return new DataView(found.key.buffer, found.key.byteOffset).getUint32(0, true);
}

function stepsOf(notes: readonly Note[], words: Words): Step[] {
  return notes.map((note): Step => {
    if (note.kind === 'access') return { kind: 'entry', ...words.access(note) };
    if (note.kind === 'route') return { kind: 'route', meaning: words.route(note) };
    return { kind: 'line', source: placeText(note.source) };
  });
}

function cutMaps(dump: Dump): string[] {
  return [...dump.maps.values()]
    .filter(({ cut }) => cut)
    .map(({ info }) => `map ${info.name} is not whole in the dump`);
}
