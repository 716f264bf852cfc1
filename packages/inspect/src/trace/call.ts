import { errnoNames, formatEndpoint, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { addressOf, SocketHandle, textOf } from '@heddle/vm';
import { familyOf } from '@heddle/vm/internal';
import type { Question } from './question.ts';
import type { Verdict } from './result.ts';
import type { RecordedRun, Tracer } from './tracer.ts';

const sockets = {
  tcp: { protocol: 6, type: 1, call: 'connect', answer: 'getpeername' },
  udp: { protocol: 17, type: 2, call: 'sendmsg', answer: 'recvmsg' },
} as const;

type Call = 'connect' | 'sendmsg' | 'getpeername' | 'recvmsg';

/** Traces connect() of TCP or sendmsg() of an unconnected UDP socket, and then getpeername() or recvmsg(). */
export function traceCall(tracer: Tracer, question: Question): Verdict {
  const { source, address, port, protocol, namespace, reply } = question;
  const { memory } = tracer.node.host.machine;
  const to = formatEndpoint(address, port);
  const unchanged = (why: string): Verdict => {
    const text = `${why}: the socket uses ${protocol === 'icmp' ? address : to} unchanged`;
    return { outcome: 'passed', text, address, port };
  };
  if (protocol === 'icmp') {
    return unchanged('the kernel runs no program for a socket that sends an echo request');
  }
  if (protocol === 'sctp') return unchanged('the kernel has no such hooks for SCTP');
  if (namespace!.isServed === false) {
    return unchanged('its processes are not in the cgroup that Heddle serves');
  }
  if (namespace!.isServed === undefined) {
    tracer.notes.push(
      'no process of the pod was seen, so it is not known whether Heddle serves its cgroup',
    );
  }
  const { call, answer, ...kind } = sockets[protocol];
  const variant = address.includes(':') ? 6 : 4;
  if (attachedAt(tracer, `${call}${variant}`) === undefined) {
    return unchanged(`no program of Heddle is attached at ${call}${variant}`);
  }
  const socket = new SocketHandle(memory, {
    ...{ family: variant === 4 ? AF_INET : AF_INET6, ...kind },
    ...{ netnsCookie: namespace!.cookie, cookie: 1n },
  });
  // A dump has no memory of the kernel: source ranges read a pod's address here, and the node's in
  // the maps.
  if (!namespace!.isNode) socket.showSource(parseIp(source)!, 0);
  try {
    const there = run(tracer, call, socket, { address, port });
    const verdict = verdictOf(tracer, question, there);
    note(tracer, `${call}${variant}`, there, verdict.text);
    const isAnswered = reply && verdict.address !== undefined;
    if (!isAnswered || attachedAt(tracer, `${answer}${variant}`) === undefined) return verdict;
    const back = run(tracer, answer, socket, there.result.endpoint);
    const { endpoint } = back.result;
    const shown = formatEndpoint(endpoint.address, endpoint.port);
    const backend = formatEndpoint(verdict.address!, verdict.port!);
    const text =
      call === 'connect'
        ? `getpeername() returns ${shown}, while the connection is with ${backend}`
        : `a reply from ${backend} is received as from ${shown}`;
    note(tracer, `${answer}${variant}`, back, text);
    const outcome = shown === backend ? 'passed' : 'translated';
    return { outcome, text, ...endpoint };
  } finally {
    socket.dispose();
  }
}

interface CallResult {
  /** 0 or -errno. */
  readonly result: number;
  readonly endpoint: { readonly address: string; readonly port: number };
}

function run(
  tracer: Tracer,
  call: Call,
  socket: SocketHandle,
  peer: CallResult['endpoint'],
): RecordedRun<CallResult> {
  const { host } = tracer.node;
  const at = { address: addressOf(peer.address), port: peer.port };
  const variant = familyOf(socket.fields.family, at.address, call);
  return tracer.record('socket', () => {
    const { result, endpoint } = host.hooks.address(call, variant, socket, host.cgroup, at);
    return {
      result,
      endpoint: { address: textOf(endpoint.address), port: endpoint.port },
    };
  });
}

function verdictOf(
  tracer: Tracer,
  { address: requested, port: requestedPort }: Question,
  { result, steps, reason }: RecordedRun<CallResult>,
): Verdict {
  const { address, port } = result.endpoint;
  if (result.result < 0) {
    const errno = errnoNames[-result.result] ?? `errno ${-result.result}`;
    const text = `the call fails with ${errno}${reason ? `: ${reason.text}` : ''}`;
    return { outcome: 'refused', text, errno, ...(reason ? { reason } : {}) };
  }
  if (address === requested && port === requestedPort) {
    const text = `the socket uses ${formatEndpoint(address, port)} unchanged`;
    return { outcome: 'passed', text, address, port };
  }
  return tracer.translated('the socket sends', address, port, steps);
}

/** Returns the id of the program at a hook, or undefined when there is none. */
function attachedAt({ dump }: Tracer, name: string): number | undefined {
  const info = dump.links.find(({ pin }) => pin === name)?.info;
  return info?.kind === 'cgroup' && info.cgroupId !== 0n ? info.programId : undefined;
}

function note(tracer: Tracer, name: string, { steps }: RecordedRun<unknown>, result: string): void {
  tracer.passed({ hook: name, steps, result }, attachedAt(tracer, name), 'socket', name);
}
