import {
  type NodeRecord,
  nodeKind,
  type ObjectChange,
  type PodRecord,
  podKind,
  type ServiceRecord,
  serviceKind,
} from '@heddle/objects';
import { ControlError, textParam } from '../../control/protocol.ts';
import type {
  AttachedPod,
  Feature,
  FeatureDefinition,
  FeatureHost,
  Params,
} from '../../feature.ts';
import type { ServerAddress } from '../../source/source.ts';
import { unfinished, type Watch } from '../../source/watches.ts';
import { ChangeLog, type Place, start } from './change-log.ts';
import type { NameChanges, NameEntry, PodName, RemovedName } from './status.ts';

/** The names of pods, nodes and services by their addresses, for `heddle observer`. It programs nothing. */
export const namesFeature: FeatureDefinition<unknown> = {
  name: 'names',
  kinds: [podKind, nodeKind, serviceKind],
  open: (host) => new NamesFeature(host),
};

/** The most entries of an answer; most have some 300 bytes. */
const entriesPerPage = 2000;

class NamesFeature implements Feature {
  readonly watches: readonly Watch[];
  readonly methods = { 'name.list': (params: Params) => this.#changes(params) };
  readonly #host: FeatureHost;
  readonly #log = new ChangeLog<NameEntry>();
  /** Revisions count anew in each run of the agent. */
  readonly #run: string;
  /** The pods of this node as the API server has them; it knows an address later than the node does. */
  readonly #own = new Map<string, PodName>();
  /** The addresses of pods of this node, as their interfaces have them. */
  readonly #attached = new Map<string, readonly string[]>();
  #hasRead = false;

  constructor(host: FeatureHost) {
    this.#host = host;
    this.#run = Math.trunc(host.platform.wallTimeMs()).toString(36);
    this.watches = host.config.visibility
      ? [{ kind: podKind, fieldSelector: unfinished }, { kind: nodeKind }]
      : [];
  }

  apply(changes: readonly ObjectChange[]): void {
    for (const change of changes) {
      if (change.op === 'set') this.#set(nameOf(change.object as NamedRecord));
      // The last good version of an object that cannot be used counts.
      else if (change.op === 'delete') this.#delete(keyOf(change));
    }
    this.#hasRead = true;
  }

  setApiServers(servers: readonly ServerAddress[]): void {
    const addresses = [...new Set(servers.map(({ address }) => address))];
    this.#write({ kind: 'apiServer', namespace: '', name: '', addresses });
  }

  attach({ namespace, name }: AttachedPod, addresses: readonly string[]): void {
    const { node } = this.#host.config;
    const bare: PodName = { kind: 'pod', namespace, name, node, addresses: [], labels: [] };
    const key = keyOf(bare);
    this.#attached.set(key, addresses);
    this.#setOwn(this.#own.get(key) ?? bare);
  }

  detach(addresses: readonly string[]): void {
    for (const [key, attached] of this.#attached) {
      if (!attached.some((address) => addresses.includes(address))) continue;
      this.#attached.delete(key);
      const own = this.#own.get(key);
      if (own) this.#setOwn(own);
      else this.#log.remove(key);
    }
  }

  [Symbol.dispose](): void {}

  #set(entry: NameEntry): void {
    if (entry.kind !== 'pod') {
      this.#write(entry);
    } else if (entry.node === this.#host.config.node) {
      this.#own.set(keyOf(entry), entry);
      this.#setOwn(entry);
    } else if (this.#host.config.visibility) {
      // Other features may watch pods of other nodes, too, whose names take memory.
      this.#writePod(entry);
    }
  }

  #setOwn(pod: PodName): void {
    const attached = this.#attached.get(keyOf(pod));
    this.#writePod(pod.addresses.length === 0 && attached ? { ...pod, addresses: attached } : pod);
  }

  #delete(key: string): void {
    this.#own.delete(key);
    // An interface that is still there may send packets.
    if (!this.#attached.has(key)) this.#log.remove(key);
  }

  /** A pod without an address has no flows. */
  #writePod(pod: PodName): void {
    if (pod.addresses.length > 0) this.#write(pod);
    else this.#log.remove(keyOf(pod));
  }

  /** Most changes of pods do not change their names. */
  #write(entry: NameEntry): void {
    const key = keyOf(entry);
    const before = this.#log.get(key);
    if (!before || JSON.stringify(before) !== JSON.stringify(entry)) this.#log.set(key, entry);
  }

  /** Answers `name.list`. */
  #changes(params: Params): NameChanges {
    const since = this.#placeOf(textParam(params, 'since') ?? '');
    const { changes, place, hasMore, isFull } = this.#log.since(since, entriesPerPage);
    return {
      items: changes.map(({ key, entry }) => entry ?? removedName(key)),
      revision: `${this.#run}.${place.revision}.${place.known}`,
      ...{ hasMore, isFull, isComplete: this.#hasRead },
    };
  }

  /** Returns the place that a revision stands for; the start for that of another run. */
  #placeOf(text: string): Place {
    const [, run, revision, known] = /^([0-9a-z]+)\.(\d{1,15})\.(\d{1,15})$/.exec(text) ?? [];
    if (text !== '' && run === undefined) {
      throw new ControlError(
        'bad-params',
        `list names: since ${text} is no revision (use that of an earlier answer)`,
      );
    }
    return run === this.#run ? { revision: Number(revision), known: Number(known) } : start;
  }
}

type NamedRecord = PodRecord | NodeRecord | ServiceRecord;

function keyOf({
  kind,
  namespace,
  name,
}: Omit<RemovedName, 'isRemoved' | 'kind'> & { kind: string }) {
  return `${kind} ${namespace}/${name}`;
}

function removedName(key: string): RemovedName {
  const [, kind, namespace, name] = /^(\S+) ([^/]*)\/(.*)$/.exec(key)!;
  return { kind: kind as RemovedName['kind'], namespace: namespace!, name: name!, isRemoved: true };
}

function nameOf(record: NamedRecord): NameEntry {
  const { namespace, name } = record;
  switch (record.kind) {
    case 'pod': {
      const { nodeName: node, addresses, labels, workload } = record;
      const entry = { kind: 'pod' as const, namespace, name, node, addresses, labels };
      return workload ? { ...entry, workload } : entry;
    }
    case 'node': {
      const { addresses, podCIDRs: ranges, labels } = record;
      return { kind: 'node', namespace: '', name, addresses, ranges, labels };
    }
    case 'service': {
      const { clusterIPs, externalIPs, loadBalancerIPs, ports } = record;
      return {
        ...{ kind: 'service', namespace, name },
        addresses: [...clusterIPs, ...externalIPs, ...loadBalancerIPs],
        ports: ports.map(({ protocol, port, nodePort }) => ({ protocol, port, nodePort })),
      };
    }
  }
}
