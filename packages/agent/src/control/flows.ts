import type { DropNotice, FlowEntry } from '@heddle/datapath';
import type { ServiceRow } from '@heddle/model';
import type { Table } from '@heddle/state';
import { formatIp, parseIp } from '@heddle/sys';
import type { DatapathPart } from '../datapath-part.ts';
import type { FlowItem, NatDestination, Page } from '../status.ts';
import { ControlError, type Request, textParam } from './protocol.ts';
import type { Follow } from './server.ts';

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
  const wanted = {
    service: textParam(params, 'service'),
    client: addressParam(params, 'client'),
    backend: addressParam(params, 'backend'),
    protocol: textParam(params, 'protocol')?.toUpperCase(),
    state: textParam(params, 'state'),
  };
  const after = Number(textParam(params, 'after') ?? 0);
  const services = servicesByFrontend(table);
  const items: FlowItem[] = [];
  for (const flow of datapath.flows()) {
    if (flow.number <= after) continue;
    const service = services.get(frontendText(flow));
    const item: FlowItem = service === undefined ? flow : { ...flow, service };
    const fits = Object.entries(wanted).every(
      ([name, value]) => value === undefined || item[name as keyof FlowItem] === value,
    );
    if (!fits) continue;
    items.push(item);
    if (items.length === flowsPerPage) return { items, next: `${flow.number}` };
  }
  return { items };
}

/** `nat.list`: towards which backends most ports are taken. */
export function natDestinations(datapath: DatapathPart): { items: NatDestination[] } {
  const { ports } = datapath.natStatus();
  const fullest = datapath.natDestinations().slice(0, destinationsListed);
  return { items: fullest.map((use) => ({ ...use, ports })) };
}

/** Drops, for all who follow them; the kernel reports them only while somebody does. */
export class DropFeed {
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;

  follow(datapath: DatapathPart, follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= datapath.watchDrops((drop) => this.#tell(drop));
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

function addressParam(params: Request['params'], name: string): string | undefined {
  const text = textParam(params, name);
  if (text === undefined) return undefined;
  const address = parseIp(text);
  if (!address) {
    throw new ControlError('bad-params', `list flows: ${name} ${text} is not an IP address`);
  }
  return formatIp(address);
}
