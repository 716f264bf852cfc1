import type { PodLimits } from '@heddle/datapath';
import { type ObjectChange, type PodRecord, podKind } from '@heddle/objects';
import type { Operations } from '@heddle/state';
import type { Feature, FeatureDefinition, FeatureHost } from '../../feature.ts';
import { findNodeDevices } from '../../node/node-devices.ts';
import { Rows } from '../../rows.ts';
import type { Watch } from '../../source/watches.ts';
import type { BandwidthDatapath } from './datapath.ts';
import { withoutFq } from './pacing.ts';

/** Other programs change queueing disciplines at any time, and the kernel does not report it to this agent. */
const everyMs = 5000;

/** Limits what pods send and receive, as their annotations ask. Without `network` it does nothing. */
export const bandwidthFeature: FeatureDefinition<BandwidthDatapath> = {
  name: 'bandwidth',
  kinds: [podKind],
  open: (host, datapath) =>
    host.config.network ? new BandwidthFeature(host, datapath) : new WithoutNetwork(),
};

class WithoutNetwork implements Feature {
  readonly watches = [];

  apply(): void {}

  [Symbol.dispose](): void {}
}

/** A pod of this node with limits. */
interface LimitedPod extends PodLimits {
  /** NAMESPACE/NAME */
  readonly key: string;
}

class BandwidthFeature implements Feature {
  readonly watches: readonly Watch[];
  readonly #host: FeatureHost;
  readonly #datapath: BandwidthDatapath['bandwidth'];
  readonly #rows: Rows<LimitedPod>;
  /** Sentences about annotations that cannot be used, by pod. */
  readonly #problems = new Map<string, readonly string[]>();
  #unpaced: readonly string[] = [];
  #timer: Disposable | undefined;

  constructor(host: FeatureHost, { bandwidth }: BandwidthDatapath) {
    this.#host = host;
    this.#datapath = bandwidth;
    this.watches = [{ kind: podKind, fieldSelector: `spec.nodeName=${host.config.node}` }];
    this.#rows = new Rows(host, { operations: operationsOf(bandwidth) });
  }

  get progress() {
    return this.#rows;
  }

  apply(changes: readonly ObjectChange[], isComplete: boolean): void {
    const upserted: LimitedPod[] = [];
    const removed: string[] = [];
    for (const change of changes as readonly ObjectChange<PodRecord>[]) {
      if (change.op === 'invalid') continue;
      const { namespace, name } = change.op === 'set' ? change.object : change;
      const key = `${namespace}/${name}`;
      const pod = change.op === 'set' ? change.object : undefined;
      const isOurs = pod?.nodeName === this.#host.config.node;
      this.#setProblems(key, isOurs ? pod.problems : []);
      if (isOurs && pod.bandwidth) {
        const { addresses, bandwidth } = pod;
        upserted.push({ key, addresses, ...bandwidth });
      } else if (this.#rows.get(key)) removed.push(key);
    }
    if (upserted.length + removed.length > 0) this.#rows.write({ upserted, removed });
    if (isComplete) this.#rows.setComplete();
    if (!this.#timer) this.#look();
  }

  warnings(): readonly string[] {
    const policed = [...this.#rows.all()].filter(({ egress }) => egress !== undefined);
    const problems = [...this.#problems].flatMap(([pod, each]) =>
      each.map((text) => `Pod ${pod}: ${text}`),
    );
    if (policed.length === 0 || this.#unpaced.length === 0) return problems;
    const names = policed.map(({ key }) => key).join(', ');
    const devices = this.#unpaced.join(', ');
    const fault = `egress bandwidth of ${names} is enforced by drops, because ${devices} has no fq`;
    return [...problems, `${fault} (heddle tune adds it)`];
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#rows[Symbol.dispose]();
  }

  #setProblems(key: string, problems: readonly string[]): void {
    const before = this.#problems.get(key) ?? [];
    if (problems.length === 0) this.#problems.delete(key);
    else this.#problems.set(key, problems);
    for (const each of problems) {
      if (!before.includes(each)) this.#host.events.add('warn', 'problem', key, each);
    }
  }

  /** Looks for fq at the external interfaces, while a pod has limits. */
  #look(): void {
    this.#timer = undefined;
    if ([...this.#rows.all()].length === 0) return;
    const { platform, config } = this.#host;
    this.#timer = platform.setTimer(everyMs, () => this.#look());
    try {
      const { devices } = findNodeDevices(platform, config);
      const external = devices.filter(({ pods }) => !pods).map(({ name }) => name);
      this.#unpaced = withoutFq(platform, external);
      this.#datapath.setPaced(external.length > 0 && this.#unpaced.length === 0);
    } catch (error) {
      platform.log('warn', `look for fq: ${(error as Error).message}; it is tried again`);
    }
  }
}

function operationsOf(datapath: BandwidthDatapath['bandwidth']): Operations<LimitedPod> {
  const addresses = new Map<string, readonly string[]>();
  const attempt = (work: () => void): Error | undefined => {
    try {
      work();
      return undefined;
    } catch (error) {
      return error as Error;
    }
  };
  return {
    update: (rows) =>
      rows.map((row) =>
        attempt(() => {
          datapath.set(row);
          addresses.set(row.key, row.addresses);
        }),
      ),
    remove: (keys) =>
      keys.map((key) =>
        attempt(() => {
          datapath.remove(addresses.get(key) ?? []);
          addresses.delete(key);
        }),
      ),
    prune: (rows) => datapath.prune(new Set(Array.from(rows).flatMap((row) => row.addresses))),
  };
}
