import { type DropNotice, type FlowEntry, flowStates } from '@heddle/datapath';
import type { ServiceRow } from '@heddle/services';
import type { Table } from '@heddle/state';
import { formatIp, parseIp } from '@heddle/sys';
import type { DatapathPart } from '../datapath-part.ts';
import type { FlowItem, FlushCount, NatDestination, Page } from '../status.ts';
import { ControlError, type Request, textParam } from './protocol.ts';
import type { Follow } from './server.ts';

const protocols = ['TCP', 'UDP', 'SCTP'] as const;
const flowsPerPage = 2000;
const destinationsListed = 1000;

/**
 * `flow.list`: flows from outside, in the order of the table, filtered by `service`
 * (`namespace/name`), `client`, `backend`, `protocol` and `state`.
 */
export function flowPage(
  table: Table<ServiceRow>,
  datapath: DatapathPart,
  { params }: Request,
): Page<FlowItem> {
  const filter = new FlowFilter(table, params, 'list flows');
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
 * `flow.flush`: ends the flows that `flow.list` gives for the same filters, a page at a time; with `dryRun`
 * it only counts them.
 */
export function flushPage(
  table: Table<ServiceRow>,
  datapath: DatapathPart,
  { params }: Request,
): Page<FlushCount> {
  const filter = new FlowFilter(table, params, 'flush flows');
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

/** The conditions of a request for flows: all that it names must match. */
class FlowFilter {
  readonly #services: ReadonlyMap<string, string>;
  readonly #wanted: readonly (readonly [keyof FlowItem, string])[];

  /** Throws ControlError, which begins with what `is done`, if a filter can match no flow at all. */
  constructor(table: Table<ServiceRow>, params: Request['params'], done: string) {
    const service = serviceParam(table, params, done);
    const protocol = protocolParam(params, done);
    const wanted = {
      ...{ service, protocol },
      client: addressParam(params, 'client', done),
      backend: addressParam(params, 'backend', done),
      state: stateParam(params, protocol, done),
    };
    this.#services = servicesByFrontend(table);
    this.#wanted = Object.entries(wanted).filter(
      (each): each is [keyof typeof wanted, string] => each[1] !== undefined,
    );
  }

  itemOf(flow: FlowEntry): FlowItem {
    const service = this.#services.get(frontendText(flow));
    return service === undefined ? flow : { ...flow, service };
  }

  fits(item: FlowItem): boolean {
    return this.#wanted.every(([name, value]) => item[name] === value);
  }
}

/** `nat.list`: towards which backends most ports are taken. */
export function natDestinations(datapath: DatapathPart): { items: NatDestination[] } {
  const { ports } = datapath.nat.status();
  const fullest = datapath.nat.destinations().slice(0, destinationsListed);
  return { items: fullest.map((use) => ({ ...use, ports })) };
}

/** Drops, for all who follow them; the kernel reports them only while somebody does. */
export class DropFeed {
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;

  follow(datapath: DatapathPart, follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= datapath.drops.watch((drop) => this.#tell(drop));
  }

  #tell(drop: DropNotice): void {
    for (const follower of this.#followers) {
      if (!follower(drop)) this.#followers.delete(follower);
    }
    if (this.#followers.size > 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}

function servicesByFrontend(table: Table<ServiceRow>): Map<string, string> {
  const services = new Map<string, string>();
  for (const { namespace, name, protocol, frontends } of table.rows()) {
    for (const { address, port } of frontends) {
      services.set(`${protocol} ${address} ${port}`, `${namespace}/${name}`);
    }
  }
  return services;
}

function frontendText({ protocol, frontend, frontendPort }: FlowEntry): string {
  return `${protocol} ${frontend} ${frontendPort}`;
}

/** The number of a flow: what comes after it is wanted. */
function afterParam(params: Request['params']): number {
  const text = textParam(params, 'after') ?? '0';
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new ControlError('bad-params', `list flows: after ${text} is not the number of a flow`);
}

function serviceParam(
  table: Table<ServiceRow>,
  params: Request['params'],
  done: string,
): string | undefined {
  const wanted = textParam(params, 'service');
  if (wanted === undefined) return undefined;
  for (const { namespace, name } of table.rows())
    if (`${namespace}/${name}` === wanted) return wanted;
  throw new ControlError(
    'not-found',
    `${done}: the agent serves no service ${wanted} (heddle service list shows those there are)`,
  );
}

function protocolParam(params: Request['params'], done: string): FlowEntry['protocol'] | undefined {
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
  params: Request['params'],
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

function addressParam(params: Request['params'], name: string, done: string): string | undefined {
  const text = textParam(params, name);
  if (text === undefined) return undefined;
  const address = parseIp(text);
  if (!address) {
    throw new ControlError('bad-params', `${done}: ${name} ${text} is not an IP address`);
  }
  return formatIp(address);
}
