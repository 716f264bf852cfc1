import { errnoNames, formatEndpoint, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { addressOf, SocketHandle, textOf } from '@heddle/vm';
import { familyOf } from '@heddle/vm/internal';
import type { Question } from './question.ts';
import type { Verdict } from './result.ts';
import type { Recorded, Tracer } from './tracer.ts';

const sockets = {
  tcp: { protocol: 6, type: 1, call: 'connect', answer: 'getpeername' },
  udp: { protocol: 17, type: 2, call: 'sendmsg', answer: 'recvmsg' },
} as const;

type Call = 'connect' | 'sendmsg' | 'getpeername' | 'recvmsg';

/** connect() of TCP, sendmsg() of an unconnected UDP socket; then what the program learns of the peer. */
export function traceCall(tracer: Tracer, question: Question): Verdict {
  const { source, address, port, protocol, namespace, reply } = question;
  const { memory } = tracer.node.host.machine;
  const to = formatEndpoint(address, port);
  const untouched = (why: string): Verdict => {
    const text = `${why}: the socket goes to ${protocol === 'icmp' ? address : to} itself`;
    return { outcome: 'passed', text, address, port };
  };
  if (protocol === 'icmp') {
    return untouched('the kernel asks no program where a socket sends an echo request');
  }
  if (protocol === 'sctp') return untouched('the kernel has no such hooks for SCTP');
  if (namespace!.isServed === false) {
    return untouched('its processes are not in the cgroup that Heddle serves');
  }
  if (namespace!.isServed === undefined) {
    tracer.notes.push(
      'no process of the pod was seen: whether Heddle serves its cgroup is not known',
    );
  }
  const { call, answer, ...kind } = sockets[protocol];
  const variant = address.includes(':') ? 6 : 4;
  if (attachedAt(tracer, `${call}${variant}`) === undefined) {
    return untouched(`nothing of Heddle is attached at ${call}${variant}`);
  }
  const socket = new SocketHandle(memory, {
    ...{ family: variant === 4 ? AF_INET : AF_INET6, ...kind },
    ...{ netnsCookie: namespace!.cookie, cookie: 1n },
  });
  // A dump has no memory of the kernel. Source ranges take a pod for this address; the node has one in the maps.
  if (!namespace!.isNode) socket.showSource(parseIp(source)!, 0);
  try {
    const there = run(tracer, call, socket, { address, port });
    const verdict = judge(tracer, question, there);
    note(tracer, `${call}${variant}`, there, verdict.text);
    const isAnswered = reply && verdict.address !== undefined;
    if (!isAnswered || attachedAt(tracer, `${answer}${variant}`) === undefined) return verdict;
    const back = run(tracer, answer, socket, there.result.endpoint);
    const { endpoint } = back.result;
    const shown = formatEndpoint(endpoint.address, endpoint.port);
    const backend = formatEndpoint(verdict.address!, verdict.port!);
    const text =
      call === 'connect'
        ? `getpeername() says ${shown}, while the connection is with ${backend}`
        : `what ${backend} answers is received as from ${shown}`;
    note(tracer, `${answer}${variant}`, back, text);
    const outcome = shown === backend ? 'passed' : 'translated';
    return { outcome, text, ...endpoint };
  } finally {
    socket.dispose();
  }
}

interface Called {
  /** 0 or -errno. */
  readonly result: number;
  readonly endpoint: { readonly address: string; readonly port: number };
}

function run(
  tracer: Tracer,
  call: Call,
  socket: SocketHandle,
  peer: Called['endpoint'],
): Recorded<Called> {
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

function judge(
  tracer: Tracer,
  { address: asked, port: askedPort }: Question,
  { result, steps, reason }: Recorded<Called>,
): Verdict {
  const { address, port } = result.endpoint;
  if (result.result < 0) {
    const errno = errnoNames[-result.result] ?? `errno ${-result.result}`;
    const text = `the call fails with ${errno}${reason ? `: ${reason.text}` : ''}`;
    return { outcome: 'refused', text, errno, ...(reason ? { reason } : {}) };
  }
  if (address === asked && port === askedPort) {
    const text = `the socket goes to ${formatEndpoint(address, port)} itself`;
    return { outcome: 'passed', text, address, port };
  }
  return tracer.translated('the socket goes', address, port, steps);
}

/** The program at a hook; undefined when there is none. */
function attachedAt({ dump }: Tracer, name: string): number | undefined {
  const info = dump.links.find(({ pin }) => pin === name)?.info;
  return info?.kind === 'cgroup' && info.cgroupId !== 0n ? info.programId : undefined;
}

function note(tracer: Tracer, name: string, { steps }: Recorded<unknown>, result: string): void {
  tracer.passed({ hook: name, steps, result }, attachedAt(tracer, name), 'socket', name);
}
