import type { FlowItem, NatDestination } from '@heddle/agent';
import { openControl } from '@heddle/inspect/open';
import { type Cell, formatTable, printJson, printLine } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';
import { endpoint, fullName } from './service.ts';

/** The filters that select the flows of a command: all that are given must match. */
export interface FlowFilters {
  readonly service?: string;
  readonly client?: string;
  readonly backend?: string;
  readonly protocol?: string;
  readonly state?: string;
}

/** `heddle flow list`: prints a line for each external connection. */
export async function flowList(options: ReadOptions & FlowFilters): Promise<void> {
  const { output } = options;
  using client = await openControl(options);
  const flows: FlowItem[] = [];
  for await (const flow of client.items<FlowItem>('flow.list', filterParams(options))) {
    flows.push(flow);
  }
  if (output === 'json') printJson({ flows });
  else if (flows.length === 0) printLine('no flows');
  else {
    process.stdout.write(
      formatTable(
        ['PROTOCOL', 'CLIENT', 'FRONTEND', 'BACKEND', 'SEEN AS', 'IDLE', 'STATE', 'SERVICE'],
        flows.map(flowLine),
      ),
    );
  }
}

/** Returns the given filters as parameters of the control protocol. */
export function filterParams(filters: FlowFilters): Partial<Record<keyof FlowFilters, string>> {
  const { service, client, backend, protocol, state } = filters;
  const wanted = { service: service && fullName(service), client, backend, protocol, state };
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
}

function flowLine(flow: FlowItem): Cell[] {
  const kept = flow.source === flow.client && flow.sourcePort === flow.clientPort;
  return [
    flow.protocol,
    endpoint({ address: flow.client, port: flow.clientPort }),
    endpoint({ address: flow.frontend, port: flow.frontendPort }),
    endpoint({ address: flow.backend, port: flow.backendPort }),
    flow.forwarding === 'dsr'
      ? 'itself, by dsr'
      : kept
        ? 'itself'
        : endpoint({ address: flow.source, port: flow.sourcePort }),
    `${flow.idleSeconds}s`,
    flow.state,
    flow.service ?? '-',
  ];
}

/** `heddle nat list`: prints a line for each backend that observes an address of this node. */
export async function natList({ output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const { items } = (await client.request('nat.list')) as { items: NatDestination[] };
  if (output === 'json') printJson({ destinations: items });
  else if (items.length === 0) printLine('no SNAT ports are in use');
  else {
    process.stdout.write(
      formatTable(
        ['PROTOCOL', 'BACKEND', 'SEEN AS', 'PORTS', 'OF', 'USED'],
        items.map(({ protocol, backend, backendPort, source, used, ports }) => {
          const text = `${Math.ceil((used / ports) * 100)}%`;
          const share: Cell = used / ports >= 0.8 ? { text, style: 'red' } : text;
          const to = endpoint({ address: backend, port: backendPort });
          return [protocol, to, source, `${used}`, `${ports}`, share];
        }),
      ),
    );
  }
}
