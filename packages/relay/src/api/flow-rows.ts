import type { FlowRows } from '@heddle/web/contract';
import { reasonWord } from '@heddle/web/filter';
import { protocolName } from '@heddle/web/protocols';
import { ruleText } from '../traffic/links.ts';
import type { RelayFlow } from '../traffic/model.ts';
import { ApiProblem, nameOf, type View } from './view.ts';

const limitMax = 500;
/** Looking for one page of flows ends after this many that do not match; the cursor goes on from there. */
const looksMax = 200_000;

/** Returns the page of flows before a cursor, newest first. Throws ApiProblem for a cursor of another run. */
export function flowPage(view: View, parameters: URLSearchParams): FlowRows {
  const { ring, run } = view.traffic;
  const cursor = parameters.get('before');
  const before = cursor === null ? ring.next : cursorOf(cursor, run);
  const limit = Math.min(limitMax, Math.max(1, Number(parameters.get('limit')) || limitMax));
  const flows: RelayFlow[] = [];
  let [looks, next] = [0, undefined as number | undefined];
  for (const [number, flow] of ring.before(before)) {
    if (flows.length >= limit || ++looks > looksMax) {
      next = number + 1;
      break;
    }
    if (flow.time >= view.from && flow.time < view.to && view.matches(flow)) flows.push(flow);
  }
  const rows = flowRows(flows, { at: view.now, matched: flows.length, exact: true });
  return next === undefined ? rows : { ...rows, next: `${run}.${next}` };
}

function cursorOf(text: string, run: string): number {
  const [own, number] = text.split('.');
  if (own !== run || !/^\d{1,15}$/.test(number ?? '')) {
    throw new ApiProblem(400, 'range', 'The cursor is of another run of the relay.');
  }
  return Number(number);
}

/** Returns flows as the contract has them. `flows` are newest first. */
export function flowRows(
  flows: readonly RelayFlow[],
  { at, matched, exact }: Pick<FlowRows, 'at' | 'matched' | 'exact'>,
): FlowRows {
  const names = new Map<string, number>([['', 0]]);
  const name = (text: string) => {
    const known = names.get(text);
    if (known !== undefined) return known;
    names.set(text, names.size);
    return names.size - 1;
  };
  const column = <T>(value: (flow: RelayFlow) => T) => flows.map(value);
  return {
    ...{ at, matched, shown: flows.length, exact },
    time: column(({ time }) => time),
    verdict: column(({ hubbleVerdict }) => hubbleVerdict),
    reason: column(({ reason }) => reason),
    from: column(({ from }) => name(nameOf(from))),
    fromPod: column(({ from }) => name(from.pod ?? '')),
    fromAddress: column(({ from }) => name(from.address ?? '')),
    fromPort: column(({ fromPort }) => fromPort),
    to: column(({ to }) => name(nameOf(to))),
    toPod: column(({ to }) => name(to.pod ?? '')),
    toAddress: column(({ to }) => name(to.address ?? '')),
    port: column(({ port }) => port),
    protocol: column(({ protocol }) => protocol),
    flags: column(({ flow }) => flow.flags),
    reply: column(({ isReply }) => (isReply ? 1 : 0)),
    direction: column(({ flow }) =>
      flow.direction === 'ingress' ? 1 : flow.direction === 'egress' ? 2 : 0,
    ),
    summary: column((flow) => name(summaryOf(flow))),
    rule: column(({ rules }) => name(rules[0] ? ruleText(rules[0]) : '')),
    service: column(({ service }) => name(service)),
    node: column(({ flow }) => name(flow.node)),
    bytes: column(({ bytes }) => bytes),
    packets: column(({ packets }) => packets),
    id: column(({ uuid }) => uuid),
    names: [...names.keys()],
  };
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'NS'];

/** Returns one line of text about a flow. */
function summaryOf({ flow, protocol, verdict, reason }: RelayFlow): string {
  const name = protocolName(protocol);
  const flags = protocol === 6 ? flagNames.filter((_, bit) => flow.flags & (1 << bit)) : [];
  const content =
    flow.dns !== undefined
      ? `DNS ${flow.dns}`
      : flow.http
        ? `HTTP ${flow.http.method} ${flow.http.path}${flow.http.code === 0 ? '' : ` ${flow.http.code}`}`
        : [name, ...flags].join(' ');
  return verdict === 'forwarded' ? content : `${content}, ${reasonWord(reason)}`;
}
