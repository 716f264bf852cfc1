import { usageWarnings } from '@heddle/ipam';
import { listLinks, NetlinkSocket } from '@heddle/netlink';
import {
  type NodeRecord,
  nodeKind,
  type ObjectChange,
  type ObjectRef,
  podKind,
} from '@heddle/objects';
import { changeMtu } from '@heddle/podnet';
import { Disposal } from '@heddle/sys';
import type {
  Feature,
  FeatureDefinition,
  FeatureHost,
  Methods,
  WarningFacts,
} from '../../feature.ts';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry } from '../../metrics/registry.ts';
import { runningPods, type Watch } from '../../source/watches.ts';
import { CniServer } from './cni/cni-server.ts';
import type { Answered } from './cni/verbs.ts';
import { podMethods, withoutPods } from './control.ts';
import type { PodsDatapath } from './datapath.ts';
import { CniInstallation } from './install.ts';
import { addPodMetrics, type PodMetrics } from './metrics.ts';
import { enableForwarding } from './node-forwarding.ts';
import { PacketSizesWatch } from './packet-sizes.ts';
import { PodNetwork } from './pod-network.ts';
import type { PodsStatus } from './status.ts';
import { UsageReports } from './usage-reports.ts';

/** Gives pods their interfaces, addresses and routes, as the container runtime's CNI plug-in. */
export const podsFeature: FeatureDefinition<PodsDatapath> = {
  name: 'pods',
  kinds: [nodeKind, podKind],
  dump: ['attachment.list'],
  open: (host, datapath) => (host.config.network ? new PodsFeature(host, datapath) : new NoPods()),
};

/** The feature where Heddle is not the network of the cluster. */
class NoPods implements Feature {
  readonly watches = [];
  readonly methods = withoutPods;

  apply(): void {}

  addMetrics(registry: Registry<MetricFacts>): void {
    addPodMetrics(registry, () => undefined);
  }

  [Symbol.dispose](): void {}
}

class PodsFeature implements Feature {
  readonly watches: readonly Watch[];
  readonly methods: Methods;
  readonly #host: FeatureHost;
  readonly #opened = new Disposal();
  readonly #sizes: PacketSizesWatch;
  readonly #network: PodNetwork;
  /** The names (`namespace/name`) of the pods of this node. */
  readonly #podNames = new Set<string>();
  readonly #usageReports = new UsageReports();
  #isComplete = false;
  #metrics: PodMetrics | undefined;
  #installation: CniInstallation | undefined;

  constructor(host: FeatureHost, datapath: PodsDatapath) {
    this.#host = host;
    const { platform, config, events } = host;
    this.watches = [
      { kind: nodeKind, fieldSelector: `metadata.name=${config.node}` },
      runningPods(config.node),
    ];
    try {
      this.#sizes = this.#opened.use(
        new PacketSizesWatch(platform, config, () => this.#changeMtu()),
      );
      this.#network = this.#opened.use(
        new PodNetwork({
          ...{ platform, events, datapath, host },
          kind: config.podInterface,
          congestionControl: config.podCongestionControl,
          sysctls: config.sysctls,
          sizes: () => this.#sizes.sizes,
        }),
      );
      this.#opened.use(
        new CniServer(platform, config.cni.socket, this.#network, (answered, seconds) =>
          this.#answered(answered, seconds),
        ),
      );
      this.methods = podMethods({
        ...{ platform, datapath, network: this.#network },
        mtu: () => this.#sizes.sizes.mtu,
        // A folder of manifests does not have the pods of the node.
        podNames: () =>
          this.#isComplete && config.manifests === undefined ? this.#podNames : undefined,
      });
      if (config.podCIDRs.length > 0) this.#setRanges(config.podCIDRs);
      this.#changeMtu();
    } catch (error) {
      this.#opened[Symbol.dispose]();
      throw error;
    }
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    for (const change of changes) {
      const ref = change.op === 'set' ? change.object : change;
      if (ref.kind === 'pod') this.#applyPod(ref, change.op === 'delete');
      else if (change.op === 'set') this.#applyNode(change.object as NodeRecord);
    }
    if (isComplete) this.#network.setComplete();
    this.#isComplete = isComplete;
    this.#install();
  }

  #applyNode({ name, nodeIPs, podCIDRs }: NodeRecord): void {
    const { config } = this.#host;
    if (name !== config.node) return;
    this.#sizes.setNodeAddresses(nodeIPs);
    if (config.podCIDRs.length === 0) this.#setRanges(podCIDRs);
  }

  #applyPod({ namespace, name }: ObjectRef, isGone: boolean): void {
    if (isGone) this.#podNames.delete(`${namespace}/${name}`);
    else this.#podNames.add(`${namespace}/${name}`);
  }

  onFirstRead(): void {
    this.#install();
  }

  release(): void {
    this.#installation?.[Symbol.dispose]();
  }

  status(): PodsStatus {
    const { count, usage, unavailable } = this.#network;
    const reason = unavailable === undefined ? {} : { notReady: unavailable };
    return { pods: { count, mtu: this.#sizes.sizes.mtu, addresses: usage, ...reason } };
  }

  warnings({ isComplete }: WarningFacts): readonly string[] {
    const { notReady, usage, problems } = this.#network;
    return [
      ...(isComplete && notReady !== undefined ? [`pods cannot be connected: ${notReady}`] : []),
      ...problems,
      ...usageWarnings(usage),
      ...(this.#installation?.warnings() ?? []),
    ];
  }

  podAt(ifindex: number): string | undefined {
    const found = this.#network.attachments.find((each) => each.ifindex === ifindex);
    const pod = found?.record.pod;
    return pod && `${pod.namespace}/${pod.name}`;
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    this.#metrics = addPodMetrics(registry, () => this.#network);
  }

  [Symbol.dispose](): void {
    this.#installation?.[Symbol.dispose]();
    this.#opened[Symbol.dispose]();
  }

  #setRanges(texts: readonly string[]): void {
    const { platform, config, events } = this.#host;
    this.#network.setRanges(texts);
    const families = this.#network.usage.map(({ family }) => family);
    try {
      for (const change of enableForwarding(platform, config.sysctls, {
        v4: families.includes('IPv4'),
        v6: families.includes('IPv6'),
      })) {
        events.add('info', 'agent', config.node, change);
      }
    } catch (error) {
      const message = `let the node forward packets of pods: ${(error as Error).message}`;
      events.add('error', 'problem', config.node, message);
    }
  }

  /** Offers the plug-in to the runtime, once it can be served: the node is ready from then on. */
  #install(): void {
    const { platform, config, events, cniPlugin, isSettled } = this.#host;
    if (this.#installation || !isSettled || this.#network.notReady !== undefined) return;
    this.#installation = new CniInstallation({
      ...{ platform, events },
      settings: config.cni,
      plugin: cniPlugin,
    });
  }

  #answered(call: Answered, seconds: number): void {
    this.#metrics?.answered(call, seconds);
    const { verb, subject, error } = call;
    const { events, config } = this.#host;
    const about = subject === '' ? config.node : subject;
    if (error) {
      // The runtime asks for STATUS each five seconds.
      const level = verb === 'STATUS' ? 'debug' : 'warn';
      const message = `CNI ${verb} failed with code ${error.code}: ${error.message}`;
      if (verb === 'STATUS') this.#host.platform.log(level, message);
      else events.add(level, 'failed', about, message);
    } else if (verb === 'ADD' || verb === 'DEL') {
      const kind = verb === 'ADD' ? 'in-force' : 'removed';
      const message = `CNI ${verb} took ${(1000 * seconds).toFixed(1)} ms`;
      events.add('debug', kind, about, message);
      for (const warning of this.#usageReports.take(this.#network.usage)) {
        events.add('warn', 'problem', config.node, warning);
      }
    }
  }

  /** Gives existing pods the MTU of new ones. */
  #changeMtu(): void {
    const { platform, config, events } = this.#host;
    const { mtu } = this.#sizes.sizes;
    const different = new Set(
      this.#network.attachments.filter((each) => each.mtu !== mtu).map(({ ifindex }) => ifindex),
    );
    if (different.size === 0) return;
    using node = new NetlinkSocket(platform);
    const links = listLinks(node).filter(({ index }) => different.has(index));
    const hidden = changeMtu(platform, node, links, mtu);
    this.#network.setMtu(mtu);
    const message = `the MTU of ${links.length} pod interfaces is now ${mtu}`;
    events.add('info', 'agent', config.node, message);
    if (hidden.length === 0) return;
    const problem = `the other ends of ${hidden.join(', ')} keep their MTU: no mount and no process leads to their network namespaces`;
    events.add('warn', 'problem', config.node, problem);
  }
}
