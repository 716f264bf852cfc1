import { type FlowEntry, flowStates } from '@heddle/datapath';
import { formatIp, parseIp } from '@heddle/sys';
import { ControlError, textParam } from '../../control/protocol.ts';
import type { Methods, Params } from '../../feature.ts';
import type { Page } from '../../status.ts';
import type { FlowsDatapath } from './datapath.ts';
import type { FlowItem, FlushCount, NatDestination } from './status.ts';

/** The names (`namespace/name`) of what is served, by `TCP 192.0.2.1 80`. */
type Owners = ReadonlyMap<string, string>;

const protocols = ['TCP', 'UDP', 'SCTP', 'ICMP'] as const;
const flowsPerPage = 2000;
const destinationsListed = 1000;

/** Returns the control methods about the flow table. */
export function flowMethods(datapath: FlowsDatapath, owners: () => Owners): Methods {
  return {
    'flow.list': (params) => flowPage(owners(), datapath, params),
    'flow.flush': (params) => flushPage(owners(), datapath, params),
    'nat.list': () => natDestinations(datapath),
  };
}

/**
 * Answers `flow.list`: flows of external traffic, in the order of the table, filtered by `service`
 * (`namespace/name`), `client`, `backend`, `protocol` and `state`.
 */
function flowPage(owners: Owners, datapath: FlowsDatapath, params: Params): Page<FlowItem> {
  const filter = new FlowFilter(owners, params, 'list flows');
  const after = afterParam(params);
  const items: FlowItem[] = [];
  for (const flow of datapath.nat.flows(after)) {
    const item = filter.itemOf(flow);
    if (!filter.fits(item)) continue;
    items.push(item);
    if (items.length === flowsPerPage) return { items, next: `${flow.number}` };
  }
  return { items };
}

/**
 * Answers `flow.flush`: ends the flows that `flow.list` returns for the same filters, a page at a time; with
 * `dryRun` it only counts them.
 */
function flushPage(owners: Owners, datapath: FlowsDatapath, params: Params): Page<FlushCount> {
  const filter = new FlowFilter(owners, params, 'flush flows');
  const after = afterParam(params);
  const { dryRun = false } = params;
  if (typeof dryRun !== 'boolean') {
    throw new ControlError('bad-params', 'flush flows: dryRun is neither true nor false');
  }
  const fits = (flow: FlowEntry) => filter.fits(filter.itemOf(flow));
  let matched = 0;
  let ended = 0;
  for (const flow of datapath.nat.flows(after)) {
    if (!fits(flow)) continue;
    matched++;
    if (!dryRun && datapath.nat.endFlow(flow.number, fits)) ended++;
    if (matched === flowsPerPage) return { items: [{ matched, ended }], next: `${flow.number}` };
  }
  return { items: [{ matched, ended }] };
}

/** The conditions of a request for flows: a flow must match each of them. */
class FlowFilter {
  readonly #owners: Owners;
  readonly #wanted: readonly (readonly [keyof FlowItem, string])[];

  /** Throws ControlError, whose message begins with `done`, if a filter can match no flow at all. */
  constructor(owners: Owners, params: Params, done: string) {
    const service = serviceParam(owners, params, done);
    const protocol = protocolParam(params, done);
    const wanted = {
      ...{ service, protocol },
      client: addressParam(params, 'client', done),
      backend: addressParam(params, 'backend', done),
      state: stateParam(params, protocol, done),
    };
    this.#owners = owners;
    this.#wanted = Object.entries(wanted).filter(
      (each): each is [keyof typeof wanted, string] => each[1] !== undefined,
    );
  }

  itemOf(flow: FlowEntry): FlowItem {
    const service = this.#owners.get(frontendText(flow));
    return service === undefined ? flow : { ...flow, service };
  }

  fits(item: FlowItem): boolean {
    return this.#wanted.every(([name, value]) => item[name] === value);
  }
}

/** Answers `nat.list`: the backends towards which most SNAT ports are taken. */
function natDestinations(datapath: FlowsDatapath): { items: NatDestination[] } {
  const { ports } = datapath.nat.status();
  const fullest = datapath.nat.destinations().slice(0, destinationsListed);
  return { items: fullest.map((use) => ({ ...use, ports })) };
}

function frontendText({ protocol, frontend, frontendPort }: FlowEntry): string {
  return `${protocol} ${frontend} ${frontendPort}`;
}

/** Returns the number of the last flow of the page before. */
function afterParam(params: Params): number {
  const text = textParam(params, 'after') ?? '0';
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new ControlError('bad-params', `list flows: after ${text} is not the number of a flow`);
}

function serviceParam(owners: Owners, params: Params, done: string): string | undefined {
  const wanted = textParam(params, 'service');
  if (wanted === undefined) return undefined;
  for (const owner of owners.values()) if (owner === wanted) return wanted;
  throw new ControlError(
    'not-found',
    `${done}: the agent serves no service ${wanted} (heddle service list shows those there are)`,
  );
}

function protocolParam(params: Params, done: string): FlowEntry['protocol'] | undefined {
  const text = textParam(params, 'protocol');
  const protocol = protocols.find((each) => each === text?.toUpperCase());
  if (text !== undefined && !protocol) {
    throw new ControlError(
      'bad-params',
      `${done}: protocol ${text} is not known (use ${protocols.join(', ')})`,
    );
  }
  return protocol;
}

function stateParam(
  params: Params,
  protocol: FlowEntry['protocol'] | undefined,
  done: string,
): string | undefined {
  const state = textParam(params, 'state');
  const known = flowStates(protocol);
  if (state === undefined || known.includes(state)) return state;
  throw new ControlError(
    'bad-params',
    `${done}: no ${protocol ?? ''}${protocol ? ' ' : ''}flow has state ${state} (use ${known.join(', ')})`,
  );
}

function addressParam(params: Params, name: string, done: string): string | undefined {
  const text = textParam(params, name);
  if (text === undefined) return undefined;
  const address = parseIp(text);
  if (!address) {
    throw new ControlError('bad-params', `${done}: ${name} ${text} is not an IP address`);
  }
  return formatIp(address);
}
