import { NetlinkSocket } from '@heddle/netlink';
import { type NodeRecord, nodeKind, type ObjectChange } from '@heddle/objects';
import {
  ensureTunnelDevice,
  removeTunnelDevice,
  tunnelId,
  tunnelName,
  tunnelOverhead,
} from '@heddle/podnet';
import { type RemoteNode, type RemoteNodeChanges, RemoteNodes } from '@heddle/routes';
import { Disposal } from '@heddle/sys';
import { textParam } from '../../control/protocol.ts';
import type { Feature, FeatureDefinition, FeatureHost, Methods, Progress } from '../../feature.ts';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry } from '../../metrics/registry.ts';
import { Rows } from '../../rows.ts';
import type { Watch } from '../../source/watches.ts';
import type { NodeRoutesDatapath } from './datapath.ts';
import { masqueradeChoice } from './masquerade.ts';
import { addNodeRouteMetrics } from './metrics.ts';
import { countModes, nodePage } from './node-list.ts';
import { NodeRouteOperations } from './operations.ts';
import type { NodeRoutesStatus } from './status.ts';
import { readUnderlay, type UnderlayView, watchUnderlay } from './underlay.ts';

/** The time after which a tunnel device that could not be made is tried again. */
const retryMs = 5000;

/** The paths to the pods of other nodes. Without `network` in the configuration it does nothing. */
export const nodeRoutesFeature: FeatureDefinition<NodeRoutesDatapath> = {
  name: 'node-routes',
  kinds: [nodeKind],
  dump: ['node.list'],
  remedies: { node_ranges: 'have fewer ranges of pod addresses: the size is fixed' },
  open: (host, datapath) =>
    host.config.network ? new NodeRoutesFeature(host, datapath) : new WithoutNetwork(),
};

class WithoutNetwork implements Feature {
  readonly watches = [];
  readonly methods: Methods = { 'node.list': () => ({ items: [] }) };

  apply(): void {}

  addMetrics(registry: Registry<MetricFacts>): void {
    addNodeRouteMetrics(registry, () => countModes([]));
  }

  [Symbol.dispose](): void {}
}

class NodeRoutesFeature implements Feature {
  readonly watches: readonly Watch[] = [{ kind: nodeKind }];
  readonly methods: Methods;
  readonly #host: FeatureHost;
  readonly #datapath: NodeRoutesDatapath['nodeRoutes'];
  readonly #model: RemoteNodes;
  readonly #operations: NodeRouteOperations;
  readonly #rows: Rows<RemoteNode>;
  readonly #opened = new Disposal();
  #view: UnderlayView | undefined;
  #tunnelProblem: string | undefined;
  #masqueradeProblem: string | undefined;
  /** This node's end of tunnels and the choice of masquerading as the datapath has them, as text. */
  #tunnel: string | undefined;
  #masquerade: string | undefined;
  #retry: Disposable | undefined;
  /** True once Nodes were read. Before, everything that an earlier agent has programmed stays. */
  #hasNodes = false;
  /** True once all Nodes were read; see Feature. */
  #isComplete = false;
  #isReleased = false;

  constructor(host: FeatureHost, datapath: NodeRoutesDatapath) {
    const { config, platform } = host;
    this.#host = host;
    this.#datapath = datapath.nodeRoutes;
    const { node: nodeName, routing, podCIDRs } = config;
    this.#model = new RemoteNodes({ nodeName, routing, podCIDRs });
    this.#operations = new NodeRouteOperations(platform, this.#datapath, () => this.#tunnelProblem);
    this.#rows = this.#opened.use(
      new Rows(host, {
        operations: this.#operations,
        describe: ({ paths }) =>
          paths.map(({ family, mode }) => ` ${mode} for ${family}`).join(' and'),
      }),
    );
    this.methods = { 'node.list': (params) => nodePage(this.#rows, textParam(params, 'after')) };
    try {
      this.#opened.use(
        watchUnderlay(
          platform,
          config.devices,
          () => this.#view,
          () => this.#look(),
        ),
      );
      this.#look();
    } catch (error) {
      this.#opened[Symbol.dispose]();
      throw error;
    }
  }

  /** Leaves the routes and the tunnel device to the process that removes them. */
  release(): void {
    this.#isReleased = true;
    this.#retry?.[Symbol.dispose]();
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    if (this.#isReleased) return;
    this.#hasNodes = true;
    this.#isComplete ||= isComplete;
    // The agent passes on Nodes only.
    const rows = this.#model.apply(changes as readonly ObjectChange<NodeRecord>[]);
    // The addresses of the tunnel device are the sources of routes, so they come first.
    this.#setTunnel();
    this.#write(rows);
    if (!isComplete) return;
    this.#rows.setComplete();
    this.#removeUnusedTunnel();
  }

  get progress(): Progress {
    return this.#rows;
  }

  status(): NodeRoutesStatus {
    const { ownAddresses: addresses, ownRanges: ranges } = this.#model;
    const problem = this.#tunnelProblem;
    return {
      nodes: {
        ...{ addresses, ranges, modes: countModes(this.#rows.all()) },
        ...(problem === undefined ? {} : { tunnelProblem: problem }),
      },
    };
  }

  warnings(): readonly string[] {
    return [this.#tunnelProblem, this.#masqueradeProblem].filter((each) => each !== undefined);
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    addNodeRouteMetrics(registry, () => countModes(this.#rows.all()));
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    this.#opened[Symbol.dispose]();
  }

  /** Reads the network between the nodes again, and repairs what others have removed. */
  #look(): void {
    if (this.#isReleased) return;
    const { platform, config, events } = this.#host;
    this.#view = readUnderlay(platform, config.devices);
    this.#setTunnel();
    this.#write(this.#model.setUnderlay(this.#view));
    const repaired = this.#operations.repair();
    if (repaired === 0) return;
    const message = `${repaired} routes to other nodes were missing or changed, and are repaired`;
    events.add('warn', 'problem', config.node, message);
  }

  #write(rows: RemoteNodeChanges): void {
    if (rows.upserted.length + rows.removed.length > 0) this.#rows.write(rows);
    if (this.#hasNodes) this.#setMasquerade();
  }

  /** True if it is known which addresses this node has in tunnels, also if it is known that it has none. */
  get #knowsRouters(): boolean {
    return this.#isComplete || (this.#hasNodes && this.#model.routers.length > 0);
  }

  /** Makes the tunnel device as it should be, for this node and the datapath. It is there before a node needs it. */
  #setTunnel(): void {
    const { platform, config, events } = this.#host;
    const view = this.#view;
    if (config.routing === 'native' || !view || !this.#knowsRouters) return;
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    const mtu = {
      ipv4: view.mtu - tunnelOverhead.IPv4,
      ipv6: view.mtu - tunnelOverhead.IPv6,
    };
    const { ownAddresses: addresses, routers } = this.#model;
    try {
      using socket = new NetlinkSocket(platform);
      const { index } = ensureTunnelDevice(platform, socket, {
        port: config.tunnelPort,
        mtu: addresses.some((each) => !each.includes(':')) ? mtu.ipv4 : mtu.ipv6,
        addresses: routers,
        sysctls: config.sysctls,
      });
      const device = { name: tunnelName, index };
      const end = { device, id: tunnelId, addresses, sources: routers, mtu };
      if (this.#tunnel !== JSON.stringify(end)) {
        this.#datapath.setTunnel(end);
        this.#tunnel = JSON.stringify(end);
      }
      this.#view = { ...view, tunnel: index };
      this.#tunnelProblem = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#tunnelProblem) events.add('error', 'problem', config.node, message);
      this.#tunnelProblem = message;
      this.#tunnel = undefined;
      this.#retry = platform.setTimer(retryMs, () => this.#look());
    }
  }

  /** Removes the tunnel device of an earlier agent that had another configuration. */
  #removeUnusedTunnel(): void {
    const { platform, config } = this.#host;
    if (config.routing !== 'native') return;
    using socket = new NetlinkSocket(platform);
    this.#datapath.setTunnel(undefined);
    removeTunnelDevice(socket);
  }

  #setMasquerade(): void {
    const { config, events } = this.#host;
    const choice = masqueradeChoice(config, this.#model.ownRanges, this.#rows.all());
    const isComplete = this.#isComplete;
    const text = JSON.stringify({ choice, isComplete });
    if (text === this.#masquerade) return;
    try {
      this.#datapath.setMasquerade(choice, isComplete);
      this.#masquerade = text;
      this.#masqueradeProblem = undefined;
    } catch (error) {
      const message = `set which destinations see the addresses of pods: ${(error as Error).message}`;
      if (message !== this.#masqueradeProblem) events.add('error', 'problem', config.node, message);
      this.#masqueradeProblem = message;
    }
  }
}
