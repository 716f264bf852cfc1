import type { LabHost } from '@heddle/lab';
import { decodeUtf8, encodeUtf8, errno, type Platform } from '@heddle/sys';
import { EPOLLIN, EPOLLOUT, type SocketAddress } from '@heddle/sys/net';
import {
  decodeIcmp,
  decodeSctp,
  encodeEcho,
  encodeSctp,
  icmpv6,
  protocolNumbers,
  type SctpMessage,
  sctpAbort,
  sctpInit,
  sctpInitAck,
} from './probe-messages.ts';
import { inNamespace, ProbeSockets } from './probe-sockets.ts';

export type ProbeProtocol = keyof typeof protocolNumbers;

/** A host that sends probes and answers them. */
export interface ProbeHost {
  readonly name: string;
  readonly host: LabHost;
}

/** A request from one host that another one should answer. */
export interface Probe {
  readonly from: ProbeHost;
  /** The host whose answer counts. */
  readonly to: ProbeHost;
  /** The address that the client uses: of `to`, or of a service. */
  readonly address: string;
  readonly protocol: ProbeProtocol;
  /** 0 for ICMP. */
  readonly port: number;
}

/**
 * `blocked`: no answer, and the datapath has counted drops for all probes without one. `leaked`: no answer, but the
 * request has arrived. `lost`: no answer and no drop. Others are texts: what refused, or who answered instead.
 */
export type Outcome = 'answered' | 'blocked' | 'leaked' | 'lost' | `refused: ${string}`;

/** The ports that a host serves. */
export type ServedPorts = Readonly<Partial<Record<'TCP' | 'UDP' | 'SCTP', readonly number[]>>>;

export interface ProbeOptions {
  /** Returns the number of packets that policies have dropped so far. */
  readonly drops: () => number;
  /** Milliseconds without an answer after which probes that no drop explains are lost. Default: 1000. */
  readonly patienceMs?: number;
  /** Sockets of clients belong to the hosts' cgroups, so that connections to services are translated. Default: false. */
  readonly hasCgroups?: boolean;
}

/** The sockets of a host for protocols that have none in the kernel. */
interface RawSockets {
  readonly sctp: number;
  readonly icmp: number;
}

const families = [4, 6] as const;
const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);
/** Milliseconds without any packet after which the drops are counted. */
const quietMs = 3;

/**
 * Sends many requests at once between hosts and reports which are answered. The hosts answer TCP, UDP and SCTP (raw
 * packets where the kernel lacks it) by their name; their kernels answer ICMP.
 */
export class Prober implements Disposable {
  readonly #sockets: ProbeSockets;
  readonly #raw = new Map<LabHost, { readonly [family in 4 | 6]: RawSockets }>();
  readonly #served = new Map<LabHost, number[]>();
  /** The kernel has sockets of SCTP, and would answer raw packets itself. */
  readonly #hasSctp: boolean;
  #round: Round | undefined;
  #rounds = 0;

  constructor(platform: Platform) {
    this.#sockets = new ProbeSockets(platform);
    this.#hasSctp = this.#sockets.supports('tcp', 4, protocolNumbers.SCTP);
  }

  /** Lets a host answer on its addresses, and send. */
  serve({ name, host }: ProbeHost, ports: ServedPorts): void {
    const { v4, v6 } = host.addresses;
    const fds: number[] = [];
    const open = (...options: Parameters<ProbeSockets['open']>) => {
      const fd = this.#sockets.open(...options);
      fds.push(fd);
      return fd;
    };
    this.#served.set(host, fds);
    inNamespace(host, () => {
      for (const address of [v4, v6]) {
        const family = familyOf(address);
        const streams = [
          ...(ports.TCP ?? []).map((port) => [port, protocolNumbers.TCP] as const),
          ...(this.#hasSctp ? (ports.SCTP ?? []) : []).map(
            (port) => [port, protocolNumbers.SCTP] as const,
          ),
        ];
        for (const [port, protocol] of streams) {
          const fd = open('tcp', family, protocol);
          this.#sockets.bind(fd, { address, port });
          this.#sockets.listen(fd);
          this.#sockets.watch(fd, EPOLLIN, () => this.#accept(fd, name));
        }
        for (const port of ports.UDP ?? []) {
          const fd = open('udp', family);
          this.#sockets.bind(fd, { address, port });
          this.#sockets.watch(fd, EPOLLIN, () => this.#echo(fd, name));
        }
      }
      const raw = (family: 4 | 6): RawSockets => ({
        sctp: open('raw', family, protocolNumbers.SCTP),
        icmp: open('raw', family, family === 4 ? protocolNumbers.ICMP : icmpv6),
      });
      const both = { 4: raw(4), 6: raw(6) };
      this.#raw.set(host, both);
      for (const family of families) {
        const { sctp, icmp } = both[family];
        const answers = new Set(ports.SCTP ?? []);
        if (!this.#hasSctp) {
          this.#sockets.watch(sctp, EPOLLIN, () => this.#readSctp(sctp, family, name, answers));
        }
        this.#sockets.watch(icmp, EPOLLIN, () => this.#readIcmp(icmp, family, host));
      }
    });
  }

  /** Closes the sockets of a host. */
  stop({ host }: ProbeHost): void {
    for (const fd of this.#served.get(host) ?? []) this.#sockets.close(fd);
    this.#served.delete(host);
    this.#raw.delete(host);
  }

  /** Sends all probes and returns their outcomes, in the order of `probes`. */
  probe(
    probes: readonly Probe[],
    { drops, patienceMs = 1000, hasCgroups = false }: ProbeOptions,
  ): Outcome[] {
    const before = drops();
    const round = new Round(probes, ++this.#rounds);
    this.#round = round;
    const clients: number[] = [];
    try {
      const byHost = new Map<LabHost, number[]>();
      for (const [index, { from }] of probes.entries()) {
        const indexes = byHost.get(from.host) ?? [];
        byHost.set(from.host, indexes);
        indexes.push(index);
      }
      for (const [host, indexes] of byHost) {
        const enter = hasCgroups ? host.enter.bind(host) : inNamespace.bind(undefined, host);
        enter(() => clients.push(...this.#send(round, host, indexes)));
        // The queues of many hosts would run full.
        while (this.#sockets.wait(0) > 0);
      }
      let last = performance.now();
      while (round.pending.size > 0) {
        if (this.#sockets.wait(quietMs) > 0) last = performance.now();
        else if (drops() - before >= round.pending.size) {
          round.end('blocked');
        } else if (performance.now() - last > patienceMs) {
          round.end('lost');
        }
      }
    } finally {
      this.#round = undefined;
      for (const fd of clients) this.#sockets.close(fd, true);
      // The servers' ends of the connections.
      while (this.#sockets.wait(0) > 0);
    }
    return round.outcomes;
  }

  [Symbol.dispose](): void {
    this.#sockets[Symbol.dispose]();
  }

  /** Sends the probes of one host, from within. Returns new sockets. */
  #send(round: Round, host: LabHost, indexes: readonly number[]): number[] {
    const opened: number[] = [];
    const datagrams = new Map<4 | 6, number>();
    for (const index of indexes) {
      const { protocol, address, port } = round.probes[index]!;
      const family = familyOf(address);
      const to: SocketAddress = { address, port };
      const raw = this.#raw.get(host)![family];
      if (protocol === 'TCP' || (protocol === 'SCTP' && this.#hasSctp)) {
        const fd = this.#sockets.open('tcp', family, protocolNumbers[protocol]);
        opened.push(fd);
        this.#connect(round, index, fd, to);
      } else if (protocol === 'UDP') {
        let fd = datagrams.get(family);
        if (fd === undefined) {
          fd = this.#sockets.open('udp', family);
          datagrams.set(family, fd);
          opened.push(fd);
          const socket = fd;
          this.#sockets.watch(fd, EPOLLIN, () =>
            this.#sockets.receiveAll(socket, (bytes) => round.answerBytes(bytes)),
          );
        }
        round.check(index, this.#sockets.send(fd, round.request(index), to));
      } else if (protocol === 'SCTP') {
        const init = round.init(index);
        round.check(index, this.#sockets.send(raw.sctp, encodeSctp(init), { address, port: 0 }));
      } else {
        const echo = encodeEcho(family, round.id, index);
        round.check(index, this.#sockets.send(raw.icmp, echo, { address, port: 0 }));
      }
    }
    return opened;
  }

  #connect(round: Round, index: number, fd: number, to: SocketAddress): void {
    round.check(index, this.#sockets.connect(fd, to));
    this.#sockets.watch(fd, EPOLLOUT, () => {
      const error = this.#sockets.takeError(fd);
      if (error !== 0) {
        round.check(index, -error);
        this.#sockets.close(fd);
        return;
      }
      this.#sockets.watch(fd, EPOLLIN, () => {
        const received = this.#sockets.receive(fd);
        const name = received ? decodeUtf8(received.bytes) : 'a reset';
        round.answer(index, name);
        this.#sockets.close(fd, true);
      });
    });
  }

  #accept(listener: number, name: string): void {
    for (;;) {
      const fd = this.#sockets.accept(listener);
      if (fd < 0) return;
      this.#sockets.send(fd, name);
      // Its end, or a reset.
      this.#sockets.watch(fd, EPOLLIN, () => this.#sockets.close(fd));
    }
  }

  #echo(fd: number, name: string): void {
    this.#sockets.receiveAll(fd, (bytes, from) => {
      this.#round?.noteArrival(bytes);
      const reply = new Uint8Array([...bytes.subarray(0, 8), ...encodeUtf8(name)]);
      this.#sockets.send(fd, reply, from);
    });
  }

  #readSctp(fd: number, family: 4 | 6, name: string, ports: ReadonlySet<number>): void {
    this.#sockets.receiveAll(fd, (bytes, { address }) => {
      const message = decodeSctp(afterHeader(family, bytes));
      if (!message) return;
      const { sport, dport, verificationTag, chunk, initiateTag, cookie } = message;
      const reply = (fields: Partial<SctpMessage>) =>
        this.#sockets.send(
          fd,
          encodeSctp({
            ...{
              sport: dport,
              dport: sport,
              verificationTag: initiateTag,
              initiateTag,
              cookie: '',
            },
            ...{ chunk: sctpAbort, ...fields },
          }),
          { address, port: 0 },
        );
      if (chunk === sctpInit) {
        this.#round?.noteTag(initiateTag);
        reply(ports.has(dport) ? { chunk: sctpInitAck, cookie: name } : {});
      } else if (chunk === sctpInitAck) {
        this.#round?.answerTag(verificationTag, cookie);
        reply({});
      } else if (chunk === sctpAbort) {
        this.#round?.refuseTag(verificationTag);
      }
    });
  }

  #readIcmp(fd: number, family: 4 | 6, host: LabHost): void {
    this.#sockets.receiveAll(fd, (bytes) => {
      const message = decodeIcmp(family, afterHeader(family, bytes));
      if (message?.kind === 'reply') this.#round?.answerEcho(message.id, message.sequence);
      else if (message) this.#round?.refuse(host, message);
    });
  }
}

/** One call of `probe`. Its number distinguishes answers of earlier ones. */
class Round {
  readonly probes: readonly Probe[];
  readonly outcomes: Outcome[];
  readonly pending: Set<number>;
  readonly #number: number;
  readonly #arrived = new Set<number>();

  constructor(probes: readonly Probe[], number: number) {
    if (probes.length > 0xffff) throw new RangeError('send probes: at most 65535 at once');
    this.probes = probes;
    this.#number = number;
    this.outcomes = probes.map(() => 'lost');
    this.pending = new Set(probes.keys());
  }

  /** The identifier of its echos. */
  get id(): number {
    return this.#number & 0xffff;
  }

  request(index: number): Uint8Array {
    return new Uint8Array(Uint32Array.of(this.#number, index).buffer);
  }

  init(index: number): SctpMessage {
    const sport = 20_000 + (this.#number % 40_000);
    const initiateTag = (((this.#number & 0x7fff) << 16) | index) + 1;
    const { port } = this.probes[index]!;
    return { sport, dport: port, verificationTag: 0, chunk: sctpInit, initiateTag, cookie: '' };
  }

  /**
   * Notes the error of a system call; `result` is a negative error number. The kernel reports a packet that a program at
   * the sender's own netkit interface has dropped, which no host has refused.
   */
  check(index: number, result: number): void {
    const isDropped = result === -errno.ENOBUFS || result === -errno.ETIMEDOUT;
    if (result < 0 && !isDropped) this.#settle(index, `refused: error ${-result}`);
  }

  answer(index: number, name: string): void {
    const expected = this.probes[index]!.to.name;
    this.#settle(index, name === expected ? 'answered' : `refused: ${name} answers`);
  }

  answerBytes(bytes: Uint8Array): void {
    const index = this.#indexOf(bytes);
    if (index !== undefined) this.answer(index, decodeUtf8(bytes.subarray(8)));
  }

  answerTag(tag: number, name: string): void {
    const index = this.#ofTag(tag);
    if (index !== undefined) this.answer(index, name);
  }

  answerEcho(id: number, sequence: number): void {
    const to = this.probes[sequence]?.to;
    if (id === this.id && to) this.answer(sequence, to.name);
  }

  refuseTag(tag: number): void {
    const index = this.#ofTag(tag);
    if (index !== undefined) this.#settle(index, 'refused: ABORT');
  }

  /** Refuses the probes that an ICMP error to a host is about. */
  refuse(
    host: LabHost,
    about: { text: string; protocol: number; destination: string; port: number },
  ): void {
    for (const index of this.pending) {
      const { from, protocol, address, port } = this.probes[index]!;
      const number = protocolNumbers[protocol];
      const isEcho = protocol === 'ICMP' && about.port === index;
      const matches =
        from.host === host && address === about.destination && (isEcho || about.port === port);
      if (matches && (isEcho || number === about.protocol)) {
        this.#settle(index, `refused: ${about.text}`);
      }
    }
  }

  noteArrival(bytes: Uint8Array): void {
    const index = this.#indexOf(bytes);
    if (index !== undefined) this.#arrived.add(index);
  }

  noteTag(tag: number): void {
    const index = this.#ofTag(tag);
    if (index !== undefined) this.#arrived.add(index);
  }

  /** Ends all probes that have no answer. */
  end(outcome: 'blocked' | 'lost'): void {
    for (const index of [...this.pending]) {
      this.#settle(index, this.#arrived.has(index) ? 'leaked' : outcome);
    }
  }

  #indexOf(bytes: Uint8Array): number | undefined {
    if (bytes.length < 8) return undefined;
    const [number, index] = new Uint32Array(bytes.slice(0, 8).buffer);
    return number === this.#number && index! < this.probes.length ? index : undefined;
  }

  #ofTag(tag: number): number | undefined {
    const index = (tag - 1) & 0xffff;
    const isOurs = (tag - 1) >>> 16 === (this.#number & 0x7fff);
    return isOurs && index < this.probes.length ? index : undefined;
  }

  #settle(index: number, outcome: Outcome): void {
    if (!this.pending.delete(index)) return;
    this.outcomes[index] = outcome;
  }
}

/** Returns what follows the IP header, which raw sockets of IPv6 do not return. */
function afterHeader(family: 4 | 6, bytes: Uint8Array): Uint8Array {
  return family === 4 ? bytes.subarray((bytes[0]! & 15) * 4) : bytes;
}
