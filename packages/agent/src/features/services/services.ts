import {
  nodeKind,
  type ObjectChange,
  podKind,
  type ServiceInput,
  type SliceRecord,
  serviceKind,
  sliceKind,
} from '@heddle/objects';
import {
  apiServer,
  isApiServerSlice,
  type RowChanges,
  ServiceModel,
  type ServiceRow,
  type TunnelEnds,
  wantsTunnels,
} from '@heddle/services';
import type { RowStatus } from '@heddle/state';
import type { Feature, FeatureDefinition, FeatureHost, Methods, Progress } from '../../feature.ts';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry } from '../../metrics/registry.ts';
import type { OwnAddress } from '../../node/own-addresses.ts';
import { Rows } from '../../rows.ts';
import { parsePortRange } from '../../snat-ports.ts';
import type { ServerAddress } from '../../source/source.ts';
import { runningPods, type Watch } from '../../source/watches.ts';
import { serviceMethods } from './control.ts';
import type { ServicesDatapath } from './datapath.ts';
import { HealthChecks } from './health-checks.ts';
import { addServiceMetrics, type ServiceMetrics } from './metrics.ts';
import { nodePortChoice } from './node-port-addresses.ts';
import { ownPorts } from './own-ports.ts';
import { rowCounts } from './row-counts.ts';
import { ShadowedListeners } from './shadowed-listeners.ts';
import { snatNodePorts } from './snat-node-ports.ts';
import type { ServicesStatus } from './status.ts';
import { validateServices } from './validate.ts';

/** Load balancing: Services, EndpointSlices, and the hostPorts of the node's Pods. */
export const servicesFeature: FeatureDefinition<ServicesDatapath> = {
  name: 'services',
  kinds: [serviceKind, sliceKind, nodeKind, podKind],
  dump: ['service.list', 'backend.list', 'pod.list'],
  remedies: {
    services: 'raise sizes.servicesMax',
    backends: 'raise sizes.backends',
    slots: 'raise sizes.slots',
    addresses: 'raise sizes.servicesMax or sizes.backends',
  },
  validate: validateServices,
  open: (host, datapath) => new ServicesFeature(host, datapath),
};

/**
 * Selects the services that have an address and that no other proxy serves (KEP-2447). The label of a headless
 * service is, like all labels of services, on its EndpointSlices too.
 */
const servedSelector = '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name';

class ServicesFeature implements Feature {
  readonly methods: Methods;
  readonly #host: FeatureHost;
  readonly #datapath: ServicesDatapath;
  readonly #model: ServiceModel;
  readonly #rows: Rows<ServiceRow>;
  readonly #healthChecks: HealthChecks;
  readonly #shadowed: ShadowedListeners;
  readonly #apiServerSlices = new Map<string, SliceRecord>();
  #metrics: ServiceMetrics | undefined;
  #hasRead = false;
  /** True once tunnels to other nodes are wanted; the watch has all Nodes then. */
  #watchesAllNodes: boolean;
  /** The reasons why entries of `nodePortAddresses` match nothing; undefined before the first addresses. */
  #addressProblems: readonly string[] | undefined;
  /** The ends of tunnels that the datapath has. */
  #tunnelEnds: TunnelEnds | undefined;

  constructor(host: FeatureHost, datapath: ServicesDatapath) {
    const { config, platform, events } = host;
    this.#host = host;
    this.#datapath = datapath;
    this.#watchesAllNodes = config.forwarding !== 'snat';
    this.#model = new ServiceModel({
      nodeName: config.node,
      ownAddresses: [],
      forwarding: config.forwarding,
      externalIPs: config.externalIPs,
      maxFrontends: Math.max(config.sizes.services, config.sizes.servicesMax),
    });
    this.#rows = new Rows(host, {
      operations: datapath.services,
      describe: ({ backends: { length } }) =>
        ` with ${length} ${length === 1 ? 'backend' : 'backends'}`,
      problems: ({ problems }) => problems,
      onStatus: (key, status) => this.#onStatus(key, status),
      onSynced: (seconds) => this.#metrics?.synced(seconds),
    });
    this.#healthChecks = new HealthChecks({ platform, events, isHealthy: () => host.isHealthy });
    this.#shadowed = new ShadowedListeners(host, () => this.#rows.all());
    this.methods = serviceMethods({
      ...{ model: this.#model, rows: this.#rows, datapath },
      healthCheck: (key) => this.#healthChecks.entry(key),
      hasRead: () => this.#hasRead,
    });
  }

  /**
   * All Nodes are watched only where tunnels lead to them: otherwise every change of a Node would go to every
   * node. Pods are watched for their hostPorts.
   */
  get watches(): readonly Watch[] {
    const { node } = this.#host.config;
    return [
      { kind: serviceKind, labelSelector: servedSelector },
      { kind: sliceKind, labelSelector: servedSelector },
      {
        kind: nodeKind,
        ...(this.#watchesAllNodes ? {} : { fieldSelector: `metadata.name=${node}` }),
      },
      runningPods(node),
    ];
  }

  observe(change: ObjectChange): void {
    const { kind, namespace, name } = change.op === 'set' ? change.object : change;
    const object = change.op === 'set' ? (change.object as ServiceInput) : undefined;
    if (object?.kind === 'service' && !this.#watchesAllNodes && wantsTunnels(object, 'snat')) {
      this.#watchesAllNodes = true;
      this.#host.rewatch();
    }
    if (kind === 'slice') this.#followApiServers(`${namespace}/${name}`, object);
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    // The agent passes on the kinds of this feature only.
    const known = changes as readonly ObjectChange<ServiceInput>[];
    this.#hasRead = true;
    this.#metrics?.changed(known);
    this.#write(this.#model.apply(known));
    if (isComplete) this.#rows.setComplete();
  }

  /** Some CNI plug-ins give the node an address for each pod: only addresses that serve are worth an event. */
  setAddresses(own: readonly OwnAddress[]): void {
    const { node, nodePortAddresses } = this.#host.config;
    const isFirst = this.#addressProblems === undefined;
    const { ranges, problems } = nodePortChoice(nodePortAddresses, own);
    const known = new Set(this.#addressProblems);
    this.#addressProblems = problems;
    for (const problem of problems) {
      if (!known.has(problem)) this.#host.events.add('warn', 'problem', node, problem);
    }
    const texts = [...new Set(own.map(({ address }) => address))];
    this.#shadowed.setAddresses(texts);
    const before = this.#model.nodePortAddresses;
    const changes = this.#model.setOwnAddresses(texts, ranges);
    if (isFirst) return;
    this.#write(changes);
    const after = this.#model.nodePortAddresses;
    if (after.join() === before.join()) return;
    const message = `NodePorts are now served at ${after.join(', ') || 'no address'}`;
    this.#host.events.add('info', 'agent', node, message);
  }

  /**
   * Keeps objects from taking the API servers' ports and the agent's own. A frontend that an earlier agent left
   * at an API server is deleted at once: it would catch the connection that the source is about to make.
   */
  setApiServers(servers: readonly ServerAddress[]): void {
    const { events, config } = this.#host;
    try {
      this.#datapath.services.dropFrontends(servers);
    } catch (error) {
      const message = `keep the API server's addresses free: ${(error as Error).message}`;
      events.add('error', 'problem', config.node, message);
    }
    const held = servers.map((server) => ({ ...server, holder: apiServer }));
    const changes = this.#model.setReserved([...ownPorts(config), ...held]);
    if (changes.upserted.length + changes.removed.length > 0) this.#write(changes);
  }

  onFirstRead(): void {
    this.#rows.reportProblems();
    this.#shadowed.markReported();
  }

  get progress(): Progress {
    return {
      counts: () => rowCounts(this.#rows, this.#model),
      waitedMs: this.#rows.waitedMs,
      lastDoneMs: this.#rows.lastDoneMs,
    };
  }

  status(): ServicesStatus {
    return {
      addresses: this.#model.nodePortAddresses,
      healthChecks: this.#healthChecks.counts,
      refusals: this.#datapath.drops.refusals(),
    };
  }

  warnings(): readonly string[] {
    const snatPorts = parsePortRange(this.#host.config.snatPorts)!;
    return [...snatNodePorts(snatPorts, this.#rows.all()), ...this.#shadowed.warnings()];
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    this.#metrics = addServiceMetrics(registry, {
      ...{ model: this.#model, rows: this.#rows, datapath: this.#datapath },
      ...{ platform: this.#host.platform, healthChecks: this.#healthChecks },
    });
  }

  *owners(): Generator<readonly [string, string]> {
    for (const { namespace, name, protocol, frontends } of this.#rows.all()) {
      for (const { address, port } of frontends) {
        yield [`${protocol} ${address} ${port}`, `${namespace}/${name}`];
      }
    }
  }

  [Symbol.dispose](): void {
    this.#shadowed[Symbol.dispose]();
    this.#rows[Symbol.dispose]();
    this.#healthChecks[Symbol.dispose]();
  }

  #write(changes: RowChanges): void {
    this.#setTunnelEnds(this.#model.tunnelEnds);
    this.#rows.write(changes);
  }

  /** Precedes the rows that ask for tunnels, so that the other ends are known by then. */
  #setTunnelEnds(ends: TunnelEnds): void {
    if (ends === this.#tunnelEnds) return;
    try {
      this.#datapath.nat.setTunnelEnds(ends);
      this.#tunnelEnds = ends;
    } catch (error) {
      const { events, config } = this.#host;
      const message = `take tunnels from other nodes: ${(error as Error).message}`;
      events.add('error', 'problem', config.node, message);
    }
  }

  #onStatus(key: string, status: RowStatus | undefined): void {
    this.#metrics?.settled(key, status);
    const row = this.#rows.get(key);
    if (!status || row?.notAdmitted !== undefined) this.#healthChecks.delete(key);
    else if (status.state === 'done') this.#healthChecks.set(row!);
    if (status?.state !== 'done' || !this.#host.isSettled) return;
    if (row!.frontends.some(({ kind }) => kind !== 'ClusterIP')) this.#shadowed.lookSoon();
  }

  /** Passes the endpoints of the service default/kubernetes, which are the API servers, to the source. */
  #followApiServers(key: string, slice: ServiceInput | undefined): void {
    const slices = this.#apiServerSlices;
    if (slice?.kind === 'slice' && isApiServerSlice(slice)) slices.set(key, slice);
    else if (!slices.delete(key)) return;
    const servers = [...slices.values()].flatMap(({ endpoints, ports }) =>
      endpoints.flatMap(({ ready, address }) =>
        ready ? ports.map(({ port }) => ({ address, port })) : [],
      ),
    );
    // Without any, the servers known so far are better than none.
    if (servers.length > 0) this.#host.setApiServers(servers);
  }
}
