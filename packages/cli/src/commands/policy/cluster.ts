import type { BackendEntry, ServiceEntry } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import { familyOf, type ObjectChange } from '@heddle/objects';
import { ClusterObjects, type Frontend, ToolError, type ToolRecord } from '@heddle/policy-tools';
import { printLine, styled } from '../../print.ts';
import { readManifests } from './manifests.ts';

/** The options that name the source of the cluster's objects; without them it is the agent. */
export interface ClusterOptions {
  readonly objects?: string;
  readonly fromDump?: string;
  readonly socket: string;
}

/** Returns the objects of the cluster: from manifests, a dump or the agent. Throws Failure. */
export async function openCluster(options: ClusterOptions): Promise<ClusterObjects> {
  const { objects, fromDump, socket } = options;
  if (objects === undefined) {
    using control = await openControl({ socket, ...(fromDump === undefined ? {} : { fromDump }) });
    return await clusterOfAgent(control);
  }
  const { changes, problems } = readManifests(objects, 'read objects');
  for (const { file, line, message } of problems) {
    process.stderr.write(`heddle: ${file}:${line}: ${message}\n`);
  }
  return new ClusterObjects(changes);
}

/** Returns the objects that an agent has: those that the policies of its pods depend on, and the services. */
export async function clusterOfAgent(control: ControlSource): Promise<ClusterObjects> {
  // A change between two pages may repeat an object.
  const world = new Map<string, ToolRecord>();
  for await (const record of control.items<WorldItem>('policy.world')) {
    const { kind, namespace, name } = record;
    world.set(`${kind} ${namespace}/${name}`, recordOf(record));
  }
  const services: ServiceEntry[] = [];
  for await (const entry of control.items<ServiceEntry>('service.list')) services.push(entry);
  const backends: BackendEntry[] = [];
  for await (const entry of control.items<BackendEntry>('backend.list')) backends.push(entry);
  const records = [...world.values(), ...servicesOf(services), ...slicesOf(services, backends)];
  const changes = records.map((object): ObjectChange<ToolRecord> => ({ op: 'set', object }));
  return new ClusterObjects(changes, frontendsOf(services, backends));
}

type WorldItem = Extract<
  ToolRecord,
  { kind: 'pod' | 'node' | 'namespace' | 'networkPolicy' | 'clusterNetworkPolicy' }
>;

/** Returns a record as it was before it became JSON, which has no infinite numbers. */
function recordOf(item: WorldItem): ToolRecord {
  if (item.kind !== 'pod') return item;
  return { ...item, createdMs: item.createdMs ?? Number.POSITIVE_INFINITY };
}

/** Returns the services of the agent's rows, as far as clients can name them. */
function servicesOf(rows: readonly ServiceEntry[]): readonly ToolRecord[] {
  const services = new Map<string, ToolRecord & { kind: 'service' }>();
  for (const { namespace, name, port, protocol, frontends } of rows) {
    const key = `${namespace}/${name}`;
    const known = services.get(key);
    const of = (isCluster: boolean) =>
      frontends.filter(({ kind }) => (kind === 'ClusterIP') === isCluster);
    const [own] = of(true);
    const ports = known?.ports ?? [];
    const first = own ?? frontends[0];
    const isNew = first && !ports.some((each) => each.name === port && each.protocol === protocol);
    services.set(key, {
      ...{ kind: 'service', namespace, name, createdMs: 0, type: 'ClusterIP' },
      clusterIPs: unique([...(known?.clusterIPs ?? []), ...of(true).map(({ address }) => address)]),
      externalIPs: unique([
        ...(known?.externalIPs ?? []),
        ...of(false).map(({ address }) => address),
      ]),
      ports: isNew
        ? [...ports, { name: port, protocol: protocol as 'TCP', port: first.port, nodePort: 0 }]
        : ports,
      ...{ proxyName: undefined, loadBalancerIPs: [], sourceRanges: [], affinitySeconds: 0 },
      ...{ internalLocal: false, externalLocal: false, healthCheckPort: 0 },
      ...{ publishNotReady: false, algorithm: 'random', weights: undefined },
      ...{ forwarding: undefined, problems: [] },
    });
  }
  return [...services.values()];
}

function slicesOf(
  rows: readonly ServiceEntry[],
  backends: readonly BackendEntry[],
): readonly ToolRecord[] {
  const byKey = new Map(rows.map((row) => [row.key, row]));
  const slices = new Map<string, ToolRecord>();
  for (const { service: key, address, port } of backends) {
    const row = byKey.get(key);
    if (!row) continue;
    const name = `${row.name} ${row.protocol} ${row.port} ${address} ${port}`;
    // The rows of one port differ in what may use them, and mostly have the same backends.
    slices.set(`${row.namespace}/${name}`, {
      ...{ kind: 'slice', namespace: row.namespace, name, service: row.name },
      family: familyOf(address),
      ports: [{ name: row.port, protocol: row.protocol as 'TCP', port }],
      endpoints: [
        {
          ...{ address, ready: true, serving: true, terminating: false },
          ...{ nodeName: '', target: '', zoneHints: [], nodeHints: [] },
        },
      ],
    });
  }
  return [...slices.values()];
}

function frontendsOf(
  rows: readonly ServiceEntry[],
  backends: readonly BackendEntry[],
): ReadonlyMap<string, Frontend> {
  const byKey = new Map<string, BackendEntry[]>();
  for (const each of backends) {
    byKey.set(each.service, [...(byKey.get(each.service) ?? []), each]);
  }
  return new Map(
    rows.flatMap(({ key, namespace, name, protocol, frontends }) =>
      frontends.map(({ address, port }): [string, Frontend] => [
        `${protocol} ${address} ${port}`,
        { service: `${namespace}/${name}`, backends: byKey.get(key) ?? [] },
      ]),
    ),
  );
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)];
}

/** Runs `work`; a question that can't be answered becomes a Failure. */
export function answered<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ToolError) throw new Failure(exitCodes.failed, error.message);
    throw error;
  }
}

/** Prints what is assumed about objects that are not known. */
export function printAssumptions({ assumedNamespaces, world }: ClusterObjects): void {
  if (assumedNamespaces.length > 0) {
    const names = assumedNamespaces.join(', ');
    printLine(styled('dim', `note: the objects have no Namespace ${names}: labels are not known`));
  }
  if (world.pods.size === 0) {
    printLine(
      styled('dim', 'note: no pods are known, so what selectors match is not checked (--objects)'),
    );
  }
}
