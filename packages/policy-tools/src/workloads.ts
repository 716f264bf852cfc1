import {
  FieldError,
  type Fields,
  type Kind,
  type Labels,
  type NamedPort,
  type ObjectRef,
  type PodRecord,
  podKind,
  readLabels,
} from '@heddle/objects';

// Manifests mostly have workloads and no pods. Each workload is one pod here, which has no real address.

/** A pod that no policy selects, with the reason. */
export interface UnusedPodRecord extends ObjectRef {
  readonly kind: 'unusedPod';
  readonly reason: string;
}

/** The template of a workload's pods, or a Pod that no node has yet. */
export interface TemplateRecord extends ObjectRef {
  readonly kind: 'template';
  /** E.g. `Deployment`. */
  readonly type: string;
  readonly labels: Labels;
  readonly namedPorts: readonly NamedPort[];
  readonly isHostNetwork: boolean;
}

type Value = Readonly<Record<string, unknown>>;

const isMap = (value: unknown): value is Value =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const mapAt = (value: unknown, ...path: readonly string[]): Value => {
  let at: unknown = value;
  for (const name of path) at = isMap(at) ? at[name] : undefined;
  return isMap(at) ? at : {};
};

const workloads: readonly (readonly [apiVersion: string, kind: string, path: string[]])[] = [
  ['apps/v1', 'Deployment', ['spec', 'template']],
  ['apps/v1', 'StatefulSet', ['spec', 'template']],
  ['apps/v1', 'DaemonSet', ['spec', 'template']],
  ['apps/v1', 'ReplicaSet', ['spec', 'template']],
  ['batch/v1', 'Job', ['spec', 'template']],
  ['batch/v1', 'CronJob', ['spec', 'jobTemplate', 'spec', 'template']],
];

/** The kinds of workloads. Those that another workload owns are unused. */
export const workloadKinds: readonly Kind<TemplateRecord>[] = workloads.map(
  ([apiVersion, kind, path]): Kind<TemplateRecord> => ({
    // Objects of different kinds may have the same name, so each kind has records of its own.
    ...{ name: `template${kind}` as 'template', apiVersion, kind },
    ...{ isNamespaced: true, path: '', fields: true as Fields },
    read(value) {
      const { name, namespace = 'default', ownerReferences } = mapAt(value, 'metadata');
      if (Array.isArray(ownerReferences) && ownerReferences.length > 0) {
        return {
          kind: 'ignored',
          note: `${kind} ${namespace}/${name} is not used: it has an owner`,
        };
      }
      const record = templateOf(kind, mapAt(value, ...path), {
        namespace: `${namespace}`,
        name: `${name}`,
      });
      return { kind: 'record', record: { ...record, kind: `template${kind}` as 'template' } };
    },
  }),
);

/** Reads Pods, also those that have no node or no address yet, and those that no policy selects. */
export const anyPodKind: Kind<PodRecord | TemplateRecord | UnusedPodRecord> = {
  ...podKind,
  read(value) {
    const read = podKind.read(value);
    const { name, namespace = 'default' } = mapAt(value, 'metadata');
    const ref = { namespace: `${namespace}`, name: `${name}` };
    if (read.kind === 'record') {
      if (read.record.addresses.length > 0) return read;
      return { kind: 'record', record: templateOf('Pod', value, ref) };
    }
    if (/not scheduled/.test(read.note)) {
      return { kind: 'record', record: templateOf('Pod', value, ref) };
    }
    const reason = read.note.replace(/^.* is not used: /, '');
    return { kind: 'record', record: { kind: 'unusedPod', ...ref, reason } };
  },
};

function templateOf(
  type: string,
  template: unknown,
  ref: { readonly namespace: string; readonly name: string },
): TemplateRecord {
  const labels = mapAt(template, 'metadata', 'labels');
  for (const [key, value] of Object.entries(labels)) {
    if (typeof value !== 'string') {
      const field = `metadata.labels.${key}`;
      throw new FieldError(field, value, 'must be text (in YAML: put it in quotes)');
    }
  }
  const spec = mapAt(template, 'spec');
  return {
    ...{ kind: 'template', type, ...ref },
    labels: readLabels(labels as Readonly<Record<string, string>>),
    namedPorts: namedPortsOf(spec),
    isHostNetwork: spec.hostNetwork === true,
  };
}

function namedPortsOf({ containers, initContainers }: Value): readonly NamedPort[] {
  const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
  const sidecars = list(initContainers).filter((each) => mapAt(each).restartPolicy === 'Always');
  return [...list(containers), ...sidecars].flatMap((container) =>
    list(mapAt(container).ports).flatMap((port): NamedPort[] => {
      const { name, containerPort, protocol = 'TCP' } = mapAt(port);
      if (typeof name !== 'string' || name === '' || typeof containerPort !== 'number') return [];
      if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') return [];
      return [{ name, protocol, port: containerPort }];
    }),
  );
}

/**
 * The range of the addresses that pods without an address have here. It is reserved (RFC 1112), so no ipBlock but that
 * of all addresses names it.
 */
const placeholders = /^240\./;

/** Returns a different address, which no pod has, for each number. */
export function placeholderAddress(number: number): string {
  return `240.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
}

/** Returns true for an address of `placeholderAddress`. */
export function isPlaceholder(address: string): boolean {
  return placeholders.test(address);
}

/** Returns a pod made from a template. */
export function podOfTemplate(template: TemplateRecord, number: number): PodRecord {
  const { namespace, name, labels, namedPorts } = template;
  return {
    ...{ kind: 'pod', namespace, name, uid: '', createdMs: Number.POSITIVE_INFINITY },
    ...{ nodeName: '', addresses: [placeholderAddress(number)], hostPorts: [], labels, namedPorts },
    ...{ workload: undefined, bandwidth: undefined, terminating: false, problems: [] },
  };
}
