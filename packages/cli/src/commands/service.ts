import type {
  AgentStatus,
  BackendEntry,
  HealthCheckEntry,
  ServiceDetail,
  ServiceEntry,
} from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { openControl } from '@heddle/inspect/open';
import {
  age,
  type Cell,
  formatFacts,
  formatTable,
  printJson,
  printLine,
  stateCell,
} from '../print.ts';
import type { ReadOptions } from '../read-options.ts';
import { isSynced, unknownYet } from './status.ts';

interface Options extends ReadOptions {
  readonly namespace?: string;
}

/** `heddle service list`: prints a line for each port and family of a service. */
export async function serviceList({ output, namespace, ...source }: Options): Promise<void> {
  using client = await openControl(source);
  const services: ServiceEntry[] = [];
  const params = namespace === undefined ? {} : { namespace };
  for await (const entry of client.items<ServiceEntry>('service.list', params)) {
    services.push(entry);
  }
  const unknown = services.length === 0 ? await whyUnknown(client) : undefined;
  if (output === 'json') {
    printJson({ services, synced: unknown === undefined });
  } else if (unknown !== undefined) {
    printLine(unknown);
  } else if (services.length === 0) {
    printLine(namespace === undefined ? 'no services' : `no services in namespace ${namespace}`);
  } else {
    process.stdout.write(
      formatTable(
        ['SERVICE', 'PORT', 'FAMILY', 'ADDRESS', 'BACKENDS', 'AGE', 'STATUS'],
        services.map((entry) => line(entry, client.nowMs)),
      ),
    );
  }
}

/** Returns the reason why an empty list does not mean that there is nothing, or undefined when it does. */
export async function whyUnknown(client: ControlSource): Promise<string | undefined> {
  const status = (await client.request('status')) as AgentStatus;
  return isSynced(status) ? undefined : unknownYet(status);
}

function line(entry: ServiceEntry, nowMs: number): Cell[] {
  // Some frontends of a service have a row of their own, e.g. those for external packets.
  const part = /\/(external|outside)$/.exec(entry.key)?.[1];
  const external = part ? ` ${part}` : '';
  return [
    `${entry.namespace}/${entry.name}`,
    entry.port === '' ? '-' : `${entry.port}/${entry.protocol}${external}`,
    entry.family || '-',
    addresses(entry),
    backends(entry),
    age(entry.since, nowMs),
    entry.status === 'done' && entry.problems.length > 0
      ? { text: `done, but ${entry.problems.join('; ')}`, style: 'yellow' }
      : stateCell(entry.status, entry.reason),
  ];
}

/** Returns the first address, and the number of others. */
function addresses({ frontends }: ServiceEntry): string {
  const [first] = frontends;
  if (!first) return '-';
  return frontends.length === 1 ? endpoint(first) : `${endpoint(first)} +${frontends.length - 1}`;
}

function backends({ backends: { active, draining }, forwarding }: ServiceEntry): string {
  const count = draining === 0 ? `${active}` : `${active} (+${draining} draining)`;
  return forwarding === 'dsr' ? `${count} by dsr` : count;
}

export function endpoint({ address, port }: { address: string; port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Returns `NAMESPACE/NAME`; without a namespace it is `default`, as with kubectl. */
export function fullName(service: string): string {
  return service.includes('/') ? service : `default/${service}`;
}

/** `heddle service get`: prints everything about one service. */
export async function serviceGet(name: string, { output, ...source }: Options): Promise<void> {
  using client = await openControl(source);
  const reply = await client.request('service.get', { service: fullName(name) });
  const { items: ports } = reply as { items: ServiceDetail[] };
  if (output === 'json') {
    printJson({ services: ports });
    return;
  }
  ports.forEach((port, i) => {
    if (i > 0) printLine();
    process.stdout.write(describe(port, client.nowMs));
  });
}

function describe(entry: ServiceDetail, nowMs: number): string {
  const facts: [string, Cell][] = [
    ['service', entry.key],
    ['status', stateCell(entry.status, entry.reason)],
    ['since', `${entry.since} (${age(entry.since, nowMs)})`],
  ];
  for (const frontend of entry.frontends) facts.push([frontend.kind, endpoint(frontend)]);
  if (entry.algorithm !== '') facts.push(['choice', entry.algorithm]);
  // snat is the default, also for services without external traffic.
  if (entry.forwarding === 'dsr') facts.push(['forwarding', entry.forwarding]);
  if (entry.affinitySeconds > 0) facts.push(['affinity', `ClientIP, ${entry.affinitySeconds} s`]);
  if (entry.sourceRanges) facts.push(['source ranges', entry.sourceRanges.join(', ')]);
  if (entry.healthCheck) facts.push(['health check', healthCheck(entry.healthCheck)]);
  if (entry.refusals.length > 0) {
    const counts = entry.refusals.map(({ reason, count }) => `${count} (${reason})`);
    facts.push(['refusals', counts.join(', ')]);
  }
  for (const problem of entry.problems) facts.push(['refused', { text: problem, style: 'yellow' }]);
  const table = entry.endpoints.length === 0 ? 'no backends\n' : backendTable(entry.endpoints);
  return `${formatFacts(facts)}\n${table}`;
}

/** Returns the port of a health check and the number of endpoints that it reports to load balancers. */
function healthCheck({ port, localEndpoints, listening, problem }: HealthCheckEntry): Cell {
  if (!listening) return { text: `port ${port}: ${problem ?? 'not served'}`, style: 'red' };
  const count = `${localEndpoints} local ${localEndpoints === 1 ? 'endpoint' : 'endpoints'}`;
  return `port ${port}: ${count}`;
}

/** Returns a table of backends. */
export function backendTable(backends: readonly BackendEntry[], withService = false): string {
  const header = ['BACKEND', 'STATE', 'WEIGHT', 'CONNECTIONS', 'OPEN', 'PACKETS', 'BYTES'];
  return formatTable(
    withService ? ['SERVICE', ...header] : header,
    backends.map((each) => {
      const state: Cell = {
        text: each.state,
        style: each.state === 'active' ? 'green' : 'yellow',
      };
      const { connections, active, packets, bytes } = each;
      const counts = [connections, active, packets, bytes].map((count) => `${count ?? '-'}`);
      const cells = [endpoint(each), state, `${each.weight}`, ...counts];
      return withService ? [each.service, ...cells] : cells;
    }),
  );
}
