import {
  clusterNetworkPolicyKind,
  type Kind,
  type NamespaceRecord,
  namespaceKind,
  networkPolicyKind,
  nodeKind,
  type ObjectChange,
  type ObjectRef,
  type PodRecord,
  type PolicyInput,
  readLabels,
  type ServiceRecord,
  type SliceRecord,
  serviceKind,
  sliceKind,
} from '@heddle/objects';
import { matchesLabels, type PolicyRecord, PolicyWorld, policyKey } from '@heddle/policy';
import { type RawRemarks, rawRemarks } from './raw-remarks.ts';
import { namespaceNameLabel, podName } from './texts.ts';
import {
  anyPodKind,
  isPlaceholder,
  podOfTemplate,
  type TemplateRecord,
  type UnusedPodRecord,
  workloadKinds,
} from './workloads.ts';

/** The records that these tools read. */
export type ToolRecord =
  | PolicyInput
  | ServiceRecord
  | SliceRecord
  | TemplateRecord
  | UnusedPodRecord;

/**
 * Returns the kinds that these tools read from manifests. `onPolicy` is called with each policy that is read, and with
 * remarks about its text.
 */
export function toolKinds(
  onPolicy: (policy: PolicyRecord, remarks: RawRemarks) => void = () => {},
): readonly Kind<ToolRecord>[] {
  const remarked = <Record extends PolicyRecord>(kind: Kind<Record>): Kind<Record> => ({
    ...kind,
    read(value) {
      const read = kind.read(value);
      if (read.kind === 'record') onPolicy(read.record, rawRemarks(value, kind.fields));
      return read;
    },
  });
  return [
    ...[namespaceKind, nodeKind, serviceKind, sliceKind, anyPodKind, ...workloadKinds],
    ...[remarked(networkPolicyKind), remarked(clusterNetworkPolicyKind)],
  ] as readonly Kind<ToolRecord>[];
}

/** An address and port that a node serves, as its agent reports it. */
export interface Frontend {
  /** `namespace/name`. */
  readonly service: string;
  /** Ports are in host order. */
  readonly backends: readonly { readonly address: string; readonly port: number }[];
}

/** The objects of a cluster, as far as they are known, that these tools answer questions about. */
export class ClusterObjects {
  readonly world = new PolicyWorld();
  /** By `namespace/name`. */
  readonly services = new Map<string, ServiceRecord>();
  readonly slices: readonly SliceRecord[];
  /** The backends of what a node serves, by `TCP 192.0.2.1 80`, if an agent has reported them. */
  readonly frontends: ReadonlyMap<string, Frontend>;
  /** The reasons why policies do not select a pod, by `namespace/name`. */
  readonly unusedPods = new Map<string, string>();
  /** Namespaces that pods or policies are in, and whose object is not known. Only their name is known then. */
  readonly assumedNamespaces: readonly string[];

  readonly #changes: readonly ObjectChange<ToolRecord>[];

  /** Takes changes of objects, as a source of manifests reports them. The last one of an object counts. */
  constructor(
    all: readonly ObjectChange<ToolRecord>[],
    frontends: ReadonlyMap<string, Frontend> = new Map(),
  ) {
    this.frontends = frontends;
    const changes = [...new Map(all.map((change) => [keyOf(change), change])).values()];
    this.#changes = changes;
    const records = changes.flatMap((change) => (change.op === 'set' ? [change.object] : []));
    const slices: SliceRecord[] = [];
    const templates: TemplateRecord[] = [];
    const inputs: ObjectChange[] = [];
    for (const change of changes) if (change.op === 'invalid') inputs.push(change);
    for (const record of records) {
      if (record.kind === 'service') this.services.set(podName(record), record);
      else if (record.kind === 'slice') slices.push(record);
      else if (record.kind === 'unusedPod') this.unusedPods.set(podName(record), record.reason);
      else if (isTemplate(record)) templates.push(record);
      else inputs.push({ op: 'set', object: record });
    }
    this.slices = slices;
    this.world.apply(inputs);
    this.#addTemplates(templates);
    this.assumedNamespaces = this.#addNamespaces();
  }

  /** Returns a copy in which more changes are applied. */
  with(changes: readonly ObjectChange<ToolRecord>[]): ClusterObjects {
    return new ClusterObjects([...this.#changes, ...changes], this.frontends);
  }

  /** Adds a pod for each workload that has none yet. */
  #addTemplates(templates: readonly TemplateRecord[]): void {
    const pods = [...this.world.pods.values()];
    const added: PodRecord[] = [];
    for (const [i, template] of templates.entries()) {
      const { namespace, isHostNetwork, labels } = template;
      const name = podName(template);
      if (isHostNetwork) {
        this.unusedPods.set(name, 'it uses the host network');
        continue;
      }
      const selector = pairs(labels).map(([key, value]) => ({
        ...{ key, operator: 'In' as const, values: [value] },
      }));
      const isThere = pods.some(
        (pod) =>
          pod.namespace === namespace &&
          (pod.name === template.name ||
            (selector.length > 0 && matchesLabels(selector, pod.labels))),
      );
      if (!isThere) added.push(podOfTemplate(template, i + 1));
    }
    this.world.apply(added.map((object) => ({ op: 'set', object })));
  }

  #addNamespaces(): readonly string[] {
    const { namespaces, pods, policies } = this.world;
    const used = [...pods.values(), ...policies.values()].map(({ namespace }) => namespace);
    const missing = [...new Set(used)].filter((name) => name !== '' && !namespaces.has(name));
    this.world.apply(missing.map((name) => ({ op: 'set', object: assumedNamespace(name) })));
    return missing.sort();
  }
}

function keyOf(change: ObjectChange<ToolRecord>): string {
  const { kind, namespace, name } = change.op === 'set' ? change.object : change;
  // Pods become unused, and get an address, without being other pods.
  const what = kind === 'unusedPod' || kind === 'template' ? 'pod' : kind;
  return `${what} ${namespace}/${name}`;
}

function isTemplate(record: ObjectRef): record is TemplateRecord {
  return record.kind.startsWith('template');
}

function pairs(labels: readonly string[]): [string, string][] {
  return labels.flatMap((key, i) =>
    i % 2 === 0 ? [[key, labels[i + 1]!] as [string, string]] : [],
  );
}

/** Returns a Namespace of which only the name is known. */
function assumedNamespace(name: string): NamespaceRecord {
  const labels = readLabels({ [namespaceNameLabel]: name });
  return { kind: 'namespace', namespace: '', name, labels, isAudited: false, problems: [] };
}

/** Returns the address of a pod for people; `-` if only its template is known. */
export function shownAddress({ addresses }: Pick<PodRecord, 'addresses'>): string {
  const real = addresses.filter((address) => !isPlaceholder(address));
  return real.join(', ') || '-';
}

export { policyKey };
