import {
  clusterNetworkPolicyKind,
  namespaceKind,
  networkPolicyKind,
  nodeKind,
  type ObjectChange,
  type PodRecord,
  podKind,
  sliceKind,
} from '@heddle/objects';
import { type PodSubjects, PolicyModel, type PolicyRow, type PolicyUpdate } from '@heddle/policy';
import { LimitedFeed } from '../../control/limited-feed.ts';
import type {
  AttachedPod,
  Feature,
  FeatureDefinition,
  FeatureHost,
  Methods,
  Progress,
} from '../../feature.ts';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Histogram, Registry } from '../../metrics/registry.ts';
import { Rows } from '../../rows.ts';
import type { Watch } from '../../source/watches.ts';
import type { VerdictRule } from '../../status.ts';
import { policyMethods, withoutPolicies } from './control.ts';
import type { PolicyDatapath, Verdict } from './datapath.ts';
import { Denials } from './denials.ts';
import { addPolicyMetrics } from './metrics.ts';
import { NameServers } from './name-servers.ts';
import { verdictEntry, verdictRule } from './policy-view.ts';
import type { PolicyStatus } from './status.ts';
import { validatePolicies } from './validate.ts';
import { policyWatches } from './watches.ts';

/** The time after which what could not be programmed is tried again, in milliseconds. */
const retryMs = 1000;

/** The verdicts that followers get in a second, which take some 5 % of a core. */
const verdictsPerSecond = 5000;

/** Enforces network policies. Without `network` in the configuration, and with `networkPolicy: false`, it does nothing. */
export const policyFeature: FeatureDefinition<PolicyDatapath> = {
  name: 'policy',
  kinds: [networkPolicyKind, clusterNetworkPolicyKind, namespaceKind, nodeKind, podKind, sliceKind],
  dump: ['policy.list', 'policy.rules', 'policy.world'],
  remedies: {
    policy_rules: 'have fewer rules that apply to pods of this node: the size is fixed',
    policy_subjects: 'raise sizes.policySubjects',
    policy_peers: 'raise sizes.policyPeers',
    policy_ranges: 'raise sizes.policyRanges',
    peer_vectors: 'raise sizes.policyPeerClasses',
    port_vectors: 'raise sizes.policyPortClasses',
    policy_names: 'raise sizes.policyNames',
  },
  validate: validatePolicies,
  open: (host, { policy, verdicts }) =>
    policy && verdicts ? new PolicyFeature(host, policy, verdicts) : new WithoutPolicies(),
};

/** The feature where network policies are off. */
class WithoutPolicies implements Feature {
  readonly watches = [];
  readonly methods = withoutPolicies;

  apply(): void {}

  addMetrics(registry: Registry<MetricFacts>): void {
    addPolicyMetrics(registry, () => undefined);
  }

  [Symbol.dispose](): void {}
}

class PolicyFeature implements Feature {
  readonly methods: Methods;
  readonly #host: FeatureHost;
  readonly #datapath: NonNullable<PolicyDatapath['policy']>;
  readonly #model: PolicyModel;
  readonly #rows: Rows<PolicyRow>;
  readonly #nameServers: NameServers;
  readonly #feed: LimitedFeed<Verdict>;
  readonly #denials: Denials;
  /** The pods of this node by name. */
  readonly #pods = new Map<string, PodSubjects>();
  /** The names of pods by the addresses of their interfaces. */
  readonly #names = new Map<string, string>();
  #watches: readonly Watch[];
  /** The changes before the first batch; undefined from then on. */
  #early: Set<ObjectChange> | undefined = new Set();
  /** The early changes that the model has. */
  readonly #applied = new Set<ObjectChange>();
  /** Rows that are taken, and whose state is not known before they are programmed. */
  readonly #pending: { upserted: PolicyRow[]; removed: string[] } = { upserted: [], removed: [] };
  /** True once the source has delivered everything. */
  #isComplete = false;
  /** The datapath has the present name servers. */
  #hasResolvers = false;
  /** The reasons why policies are not programmed, and why name servers are not set. */
  #problem: string | undefined;
  #resolversProblem: string | undefined;
  #retry: Disposable | undefined;
  #seconds: Histogram | undefined;

  constructor(
    host: FeatureHost,
    datapath: NonNullable<PolicyDatapath['policy']>,
    verdicts: NonNullable<PolicyDatapath['verdicts']>,
  ) {
    const { config } = host;
    this.#host = host;
    this.#datapath = datapath;
    this.#model = new PolicyModel({ nodeName: config.node });
    this.#nameServers = new NameServers(config.dnsServers);
    this.#watches = this.#wantedWatches();
    this.#rows = new Rows(host, {
      operations: {
        update: (rows) => this.#statesOf(rows),
        remove: (keys) => keys.map(() => undefined),
        prune: () => {},
      },
      problems: ({ problems }) => problems,
      describe: ({ rules }) => ` with ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`,
      onSynced: (seconds) => this.#seconds?.observe(seconds),
    });
    datapath.setListener((keys) => this.#renew(keys));
    datapath.enable(config.policyOpenConnections === 'keep', config.policyDenyResponse);
    const view = { rows: this.#rows, datapath, model: this.#model };
    const podAt = (address: string) => this.#names.get(address);
    this.#feed = new LimitedFeed({
      ...{ platform: host.platform, perSecond: verdictsPerSecond },
      watch: (onVerdict) => verdicts.watch(onVerdict),
      entryOf: (verdict) => verdictEntry(verdict, view, podAt),
    });
    this.#denials = new Denials(host.platform, () =>
      this.#isComplete ? this.#model.records() : undefined,
    );
    this.methods = policyMethods(view, this.#feed, this.#denials);
  }

  get watches(): readonly Watch[] {
    return this.#watches;
  }

  get progress(): Progress {
    return this.#rows;
  }

  observe(change: ObjectChange): void {
    this.#early?.add(change);
  }

  /** The objects that are there already name the namespaces of their peers. */
  beforeFirst(): void {
    if (!this.#early) return;
    const changes = [...this.#early];
    this.#early.clear();
    for (const each of changes) this.#applied.add(each);
    this.#take(this.#model.apply(changes));
    this.#rewatch();
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    this.#early = undefined;
    const fresh = changes.filter((change) => !this.#applied.has(change));
    this.#applied.clear();
    const update = this.#model.apply(fresh);
    this.#take(update);
    if (this.#nameServers.apply(changes)) this.#hasResolvers = false;
    this.#isComplete ||= isComplete;
    if (isComplete) this.#datapath.setComplete();
    this.#program();
    if (isComplete) this.#rows.setComplete();
    this.#rewatch();
  }

  attach(pod: AttachedPod, addresses: readonly string[]): void {
    const name = `${pod.namespace}/${pod.name}`;
    for (const address of addresses) this.#names.set(address, name);
    if (this.#host.config.manifests !== undefined && !this.#pods.has(name)) {
      // A folder need not have the pods: one that it lacks has no labels.
      this.#take(
        this.#model.apply([{ op: 'set', object: unlabelled(pod, this.#host.config.node) }]),
      );
    }
    this.#datapath.attach({ pod: name, uid: pod.uid }, addresses);
  }

  detach(addresses: readonly string[]): void {
    for (const address of addresses) this.#names.delete(address);
    this.#datapath.detach(addresses);
  }

  holdPod(address: string, done: () => void): Disposable | undefined {
    if (this.#datapath.isProgrammed(address)) return undefined;
    return this.#datapath.whenProgrammed(address, done);
  }

  ruleAt(number: number): VerdictRule | undefined {
    return verdictRule(this.#datapath.ruleAt(number));
  }

  release(): void {
    this.#retry?.[Symbol.dispose]();
    this.#datapath.release();
  }

  status(): PolicyStatus {
    const { demand } = this.#model;
    const { classes, addresses } = this.#model.sizes;
    const rows = [...this.#rows.all()];
    const pods = [...this.#pods.values()];
    return {
      policies: {
        count: rows.length,
        rules: rows.reduce((sum, row) => sum + row.rules.length, 0),
        ...{ classes, peers: addresses },
        pods: {
          selected: pods.filter(({ egress, ingress }) => egress || ingress).length,
          closed: pods.filter((pod) => this.#isClosed(pod)).length,
        },
        watched: demand === 'all' ? 'all' : demand.size,
        denied: countsOf(this.#datapath.denied(), this.#datapath.deniedByDefault()),
        wouldDeny: countsOf(this.#datapath.wouldDeny(), this.#datapath.wouldDenyByDefault()),
      },
    };
  }

  warnings(): readonly string[] {
    const failed = [...this.#rows.statuses()].filter(([, { state }]) => state === 'failed');
    const closed = [...this.#pods.values()].filter((pod) => this.#isClosed(pod)).length;
    return [
      ...(this.#problem === undefined ? [] : [`program network policies: ${this.#problem}`]),
      ...(this.#resolversProblem === undefined ? [] : [this.#resolversProblem]),
      ...(failed.length === 0
        ? []
        : [
            `${failed.length} network policies are not programmed, so ${closed} pods that they select are closed (heddle policy list has the reasons)`,
          ]),
    ];
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    this.#seconds = addPolicyMetrics(registry, () => ({
      status: this.status().policies!,
      states: this.#rows.counts(),
      datapath: this.#datapath,
    }));
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]();
    this.#feed[Symbol.dispose]();
    this.#rows[Symbol.dispose]();
  }

  #take(update: PolicyUpdate): void {
    this.#denials.changed();
    const { policies, subjects } = update;
    for (const pod of subjects.removed) this.#pods.delete(pod);
    for (const pod of subjects.upserted) this.#pods.set(pod.pod, pod);
    this.#datapath.take(update);
    this.#pending.upserted.push(...policies.upserted);
    this.#pending.removed.push(...policies.removed);
  }

  #program(): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    this.#resolversProblem = this.#attempt(() => this.#setResolvers(), this.#resolversProblem);
    this.#problem = this.#attempt(() => this.#datapath.program(), this.#problem);
    const { upserted, removed } = this.#pending;
    this.#rows.write({ upserted: upserted.splice(0), removed: removed.splice(0) });
  }

  /** Returns the reason why something has failed. It is then tried again, and reported unless it was before. */
  #attempt(work: () => void, before: string | undefined): string | undefined {
    try {
      work();
      return undefined;
    } catch (error) {
      const { message } = error as Error;
      const { events, config, platform } = this.#host;
      if (message !== before) events.add('error', 'problem', config.node, message);
      this.#retry ??= platform.setTimer(retryMs, () => this.#program());
      return message;
    }
  }

  /** Throws an Error with a sentence. */
  #setResolvers(): void {
    // What an earlier agent has written stays until the slices are known.
    if (this.#hasResolvers || !this.#isComplete) return;
    try {
      this.#datapath.setResolvers(this.#nameServers.addresses);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`set the name servers whose answers count: ${message}`, { cause: error });
    }
    this.#hasResolvers = true;
  }

  #statesOf(rows: readonly PolicyRow[]): readonly (Error | undefined)[] {
    const retried = rows.some(({ key }) => this.#rows.status(key)?.state === 'failed');
    if (retried && this.#problem === undefined) this.#datapath.retry();
    return rows.map(({ key }) => {
      const problem = this.#problem ?? this.#datapath.problemOf(key);
      return problem === undefined ? undefined : new Error(problem);
    });
  }

  /** Looks at rows again whose state has changed otherwise than by a change of theirs. */
  #renew(keys: readonly string[]): void {
    const rows = keys.flatMap((key) => this.#rows.get(key) ?? []);
    // A row that is written again is looked at again.
    if (rows.length > 0)
      this.#rows.write({ upserted: rows.map((row) => ({ ...row })), removed: [] });
  }

  #rewatch(): void {
    const watches = this.#wantedWatches();
    if (sameWatches(watches, this.#watches)) return;
    this.#watches = watches;
    this.#host.rewatch();
  }

  #wantedWatches(): readonly Watch[] {
    const { config } = this.#host;
    return policyWatches(config.node, this.#model.demand, this.#nameServers.services);
  }

  #isClosed({ egress, ingress }: PodSubjects): boolean {
    return [egress, ingress].some((subject) =>
      subject?.rules.some(({ policy }) => this.#datapath.problemOf(policy) !== undefined),
    );
  }
}

function sameWatches(a: readonly Watch[], b: readonly Watch[]): boolean {
  const text = (watches: readonly Watch[]) =>
    watches
      .map(({ kind, namespace }) => `${kind.name} ${namespace ?? ''}`)
      .sort()
      .join();
  return text(a) === text(b);
}

type Directions = Readonly<Record<'egress' | 'ingress', bigint>>;

function countsOf(byPolicy: ReadonlyMap<string, Directions>, byDefault: Directions) {
  const sumOf = ({ egress, ingress }: Directions) => Number(egress + ingress);
  const byRules = Array.from(byPolicy.values(), sumOf);
  return {
    byRules: byRules.reduce((sum, count) => sum + count, 0),
    byDefault: sumOf(byDefault),
  };
}

/** Returns the record of a pod without labels. */
function unlabelled({ namespace, name, uid }: AttachedPod, nodeName: string): PodRecord {
  return {
    ...{ kind: 'pod', namespace, name, uid, nodeName, createdMs: 0, addresses: [] },
    ...{ hostPorts: [], labels: [], workload: undefined, namedPorts: [], bandwidth: undefined },
    ...{ terminating: false, problems: [] },
  };
}
