import { familyOf, takesNodePorts } from './addresses.ts';
import { bySeniority, FrontendClaims } from './conflicts.ts';
import { AddressHolders } from './external-ips.ts';
import { wantsTunnels } from './forwarding.ts';
import { compactList, ownText } from './memory.ts';
import {
  type InvalidRef,
  type NodeRecord,
  type ObjectChange,
  objectLabel,
  type ServiceRecord,
  type SliceRecord,
} from './records.ts';
import type { Forwarding, ServiceRow } from './rows.ts';
import { type RowContext, sameRow, serviceClaims, serviceRows } from './service-rows.ts';

export interface NodeContext {
  /** Name of this node's Node object; empty when the node has none. */
  readonly nodeName: string;
  /** Addresses found on this node's devices, as text; loopback may be among them. */
  readonly ownAddresses: readonly string[];
  /** How packets get to other nodes, where a service doesn't say. Default: snat. */
  readonly forwarding?: Forwarding;
}

/** Between which addresses nodes may tunnel packets to each other. */
export interface TunnelEnds {
  /** Of the other nodes; none while no service asks for tunnels. */
  readonly peers: readonly string[];
  /** Of this node, as the others know it: those of its Node object that are on its devices. */
  readonly own: readonly string[];
}

/** What changed in the set of rows. A row that is upserted differs from what it was. */
export interface RowChanges {
  readonly upserted: readonly ServiceRow[];
  /** Keys. */
  readonly removed: readonly string[];
}

/** An object whose newest version can't be used. */
export interface ObjectProblem extends InvalidRef {
  readonly reason: string;
}

/** All that is known of one service. It exists while there is the Service or one of its slices. */
interface ServiceState {
  readonly key: string;
  service: ServiceRecord | undefined;
  /** In the order of their names, so that rows don't depend on the order of arrival. */
  slices: readonly SliceRecord[];
  rows: readonly ServiceRow[];
  claims: readonly string[];
}

const empty: readonly never[] = [];

/**
 * Turns Kubernetes objects into rows, incrementally: a change costs as much as the services that it
 * touches. The rows depend on the present objects only, never on the order in which they came.
 */
export class ServiceModel {
  readonly #nodeName: string;
  readonly #forwarding: Forwarding;
  #ownAddresses: readonly string[];
  /** Own addresses in any sense, for the refusal of externalIPs. */
  #own = new Set<string>();
  #nodeAddresses: readonly string[] = empty;
  readonly #services = new Map<string, ServiceState>();
  readonly #slices = new Map<string, SliceRecord>();
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #problems = new Map<string, ObjectProblem>();
  /** The same by the service that they are problems of, `namespace/name`. */
  readonly #problemsOf = new Map<string, Map<string, ObjectProblem>>();
  readonly #holders = new AddressHolders();
  readonly #claims = new FrontendClaims<ServiceState>();
  readonly #dirty = new Set<ServiceState>();
  readonly #newlyWatched = new Set<string>();
  /** How many services want tunnels. */
  #tunnelled = 0;
  #tunnelEnds: TunnelEnds = { peers: empty, own: empty };
  /** Nodes, addresses or the wish for tunnels have changed since `#tunnelEnds` was made. */
  #tunnelEndsMoved = true;

  constructor(context: NodeContext) {
    this.#nodeName = context.nodeName;
    this.#forwarding = context.forwarding ?? 'snat';
    this.#ownAddresses = context.ownAddresses;
    this.#readOwnAddresses();
  }

  /** Objects whose newest version can't be used, by label (`Service default/web`). */
  get problems(): ReadonlyMap<string, ObjectProblem> {
    return this.#problems;
  }

  /** What of a service (`namespace/name`) can't be used: itself, or the first of its slices. */
  problemOf(service: string): ObjectProblem | undefined {
    const problems = this.#problemsOf.get(service);
    if (!problems) return undefined;
    const [first, ...rest] = problems.values();
    return rest.find(({ kind }) => kind === 'service') ?? first;
  }

  /** Where tunnels between nodes begin and end; the same object while nothing changes. */
  get tunnelEnds(): TunnelEnds {
    return this.#tunnelEnds;
  }

  /** All rows as they are now. */
  *rows(): Generator<ServiceRow> {
    for (const state of this.#services.values()) yield* state.rows;
  }

  /** Takes in what happened to objects and returns what that does to the rows. */
  apply(changes: readonly ObjectChange[]): RowChanges {
    for (const change of changes) {
      if (change.op === 'invalid') {
        this.#noteProblem(change);
        continue;
      }
      const ref = change.op === 'set' ? change.object : change;
      if (this.#problems.size > 0) this.#forgetProblem(objectLabel(ref));
      const key = ownText(`${ref.namespace}/${ref.name}`);
      const object = change.op === 'set' ? change.object : undefined;
      if (ref.kind === 'service') this.#setService(key, object as ServiceRecord | undefined);
      else if (ref.kind === 'slice') this.#setSlice(key, object as SliceRecord | undefined);
      else this.#setNode(ref.name, object as NodeRecord | undefined);
    }
    return this.#recompute();
  }

  /** Tells which addresses this node's devices have now. */
  setOwnAddresses(addresses: readonly string[]): RowChanges {
    this.#ownAddresses = addresses;
    this.#tunnelEndsMoved = true;
    this.#readOwnAddresses();
    return this.#recompute();
  }

  #noteProblem({ kind, namespace, name, reason, service }: ObjectProblem): void {
    const label = objectLabel({ kind, namespace, name });
    this.#forgetProblem(label);
    // Its last good version says of which service it is, if the present one doesn't.
    const known =
      kind === 'slice' ? (service ?? this.#slices.get(`${namespace}/${name}`)?.service) : undefined;
    const problem: ObjectProblem = {
      ...{ kind, namespace, name, reason },
      ...(known === undefined ? {} : { service: known }),
    };
    this.#problems.set(label, problem);
    const key = serviceOf(problem);
    if (key === undefined) return;
    const others = this.#problemsOf.get(key);
    if (others) others.set(label, problem);
    else this.#problemsOf.set(key, new Map([[label, problem]]));
  }

  #forgetProblem(label: string): void {
    const problem = this.#problems.get(label);
    if (!problem) return;
    this.#problems.delete(label);
    const key = serviceOf(problem);
    if (key === undefined) return;
    const others = this.#problemsOf.get(key);
    others?.delete(label);
    if (others?.size === 0) this.#problemsOf.delete(key);
  }

  #setService(key: string, service: ServiceRecord | undefined): void {
    if (!service && !this.#services.has(key)) return;
    const state = this.#stateOf(key);
    const before = state.service;
    state.service = service;
    this.#dirty.add(state);
    const wants = wantsTunnels(service, this.#forwarding);
    if (wants !== wantsTunnels(before, this.#forwarding)) {
      this.#tunnelled += wants ? 1 : -1;
      this.#tunnelEndsMoved = true;
    }
    for (const address of before?.externalIPs ?? empty) this.#holders.unwatch(address, key);
    for (const address of service?.externalIPs ?? empty) {
      if (this.#holders.watch(address, key)) this.#newlyWatched.add(address);
    }
    this.#moveAddresses(
      `the ClusterIP of Service ${key}`,
      before?.clusterIPs ?? empty,
      service?.clusterIPs ?? empty,
    );
  }

  #setSlice(key: string, slice: SliceRecord | undefined): void {
    const before = this.#slices.get(key);
    if (slice) this.#slices.set(key, slice);
    else this.#slices.delete(key);
    if (before) {
      const state = this.#stateOf(`${before.namespace}/${before.service}`);
      state.slices = compactList(state.slices.filter((other) => other !== before));
      this.#dirty.add(state);
    }
    if (slice) {
      const state = this.#stateOf(ownText(`${slice.namespace}/${slice.service}`));
      state.slices =
        state.slices.length === 0
          ? [slice]
          : [...state.slices, slice].sort((a, b) => (a.name < b.name ? -1 : 1));
      this.#dirty.add(state);
    }
    if (this.#holders.isEmpty) return;
    this.#moveAddresses(
      endpointHolder(key),
      before?.endpoints.map(({ address }) => address) ?? empty,
      slice?.endpoints.map(({ address }) => address) ?? empty,
    );
  }

  #setNode(name: string, node: NodeRecord | undefined): void {
    const before = this.#nodes.get(name);
    if (node) this.#nodes.set(name, node);
    else this.#nodes.delete(name);
    this.#moveAddresses(
      `an address of Node ${name}`,
      before?.addresses ?? empty,
      node?.addresses ?? empty,
    );
    this.#tunnelEndsMoved = true;
    if ((before === undefined) !== (node === undefined)) this.#touchTunnelsTo(name);
    if (name !== this.#nodeName) return;
    this.#readOwnAddresses();
    if (before?.zone === node?.zone) return;
    for (const state of this.#services.values()) {
      const hinted = state.slices.some(({ endpoints }) =>
        endpoints.some(({ zoneHints }) => zoneHints.length > 0),
      );
      if (hinted) this.#dirty.add(state);
    }
  }

  /** A node came or went: whether tunnels lead there is another question now. */
  #touchTunnelsTo(node: string): void {
    if (this.#tunnelled === 0) return;
    for (const state of this.#services.values()) {
      if (!wantsTunnels(state.service, this.#forwarding)) continue;
      const leadsThere = state.slices.some(({ endpoints }) =>
        endpoints.some(({ nodeName }) => nodeName === node),
      );
      if (leadsThere) this.#dirty.add(state);
    }
  }

  /** Brings the ends of tunnels up to date, and marks the services it matters to. */
  #readTunnelEnds(): void {
    if (!this.#tunnelEndsMoved) return;
    this.#tunnelEndsMoved = false;
    const { peers, own } = this.#tunnelEnds;
    const others = new Set<string>();
    for (const { name, addresses } of this.#tunnelled > 0 ? this.#nodes.values() : empty) {
      if (name === this.#nodeName) continue;
      for (const address of addresses) if (takesNodePorts(address)) others.add(address);
    }
    for (const address of this.#ownAddresses) others.delete(address);
    const listed = this.#nodes.get(this.#nodeName)?.addresses ?? empty;
    const now: TunnelEnds = {
      peers: [...others].sort(),
      own: listed.filter((address) => this.#ownAddresses.includes(address)),
    };
    const sameOwn = own.join() === now.own.join();
    if (sameOwn && peers.join() === now.peers.join()) return;
    this.#tunnelEnds = now;
    if (sameOwn) return;
    for (const state of this.#services.values()) {
      if (wantsTunnels(state.service, this.#forwarding)) this.#dirty.add(state);
    }
  }

  #moveAddresses(holder: string, before: readonly string[], after: readonly string[]): void {
    if (this.#holders.isEmpty) return;
    for (const address of before) {
      for (const user of this.#holders.release(address, holder)) this.#touch(user);
    }
    for (const address of after) {
      for (const user of this.#holders.hold(address, holder)) this.#touch(user);
    }
  }

  #touch(key: string): void {
    const state = this.#services.get(key);
    if (state) this.#dirty.add(state);
  }

  /** Brings what follows from the own addresses up to date, and marks the services it matters to. */
  #readOwnAddresses(): void {
    const node = this.#nodes.get(this.#nodeName);
    const own = new Set([...this.#ownAddresses, ...(node?.addresses ?? empty)]);
    if (own.size === this.#own.size && [...own].every((address) => this.#own.has(address))) return;
    this.#own = own;
    this.#nodeAddresses = [...own].filter(takesNodePorts).sort();
    for (const state of this.#services.values()) {
      const { service } = state;
      if (!service) continue;
      const takesNodeAddresses =
        service.healthCheckPort !== 0 || service.ports.some(({ nodePort }) => nodePort !== 0);
      if (service.externalIPs.length > 0 || takesNodeAddresses) {
        this.#dirty.add(state);
      }
    }
  }

  /** Finds the holders of addresses that are asked for as externalIP for the first time. */
  #findHolders(): void {
    const hold = (addresses: Iterable<string>, holder: () => string) => {
      for (const address of addresses) {
        if (this.#newlyWatched.has(address)) this.#holders.hold(address, holder());
      }
    };
    for (const { name, addresses } of this.#nodes.values()) {
      hold(addresses, () => `an address of Node ${name}`);
    }
    for (const { key, service } of this.#services.values()) {
      hold(service?.clusterIPs ?? empty, () => `the ClusterIP of Service ${key}`);
    }
    for (const [key, { endpoints }] of this.#slices) {
      for (const { address } of endpoints) {
        if (this.#newlyWatched.has(address)) this.#holders.hold(address, endpointHolder(key));
      }
    }
    this.#newlyWatched.clear();
  }

  #recompute(): RowChanges {
    if (this.#newlyWatched.size > 0) this.#findHolders();
    this.#readTunnelEnds();
    const context: RowContext = {
      locality: {
        nodeName: this.#nodeName,
        zone: this.#nodes.get(this.#nodeName)?.zone ?? '',
      },
      nodeAddresses: this.#nodeAddresses,
      forwarding: this.#forwarding,
      nodes: {
        hasNode: (name) => this.#nodes.has(name),
        isKnownByOthers: (family) =>
          this.#tunnelEnds.own.some((address) => familyOf(address) === family),
      },
      holderOf: (address) =>
        this.#own.has(address) ? 'an address of this node' : this.#holders.holderOf(address),
      keptBy: (claim, service) => this.#keptBy(claim, service),
    };
    // Claims first, of all services that changed, because rows are decided among all claimants;
    // a service whose rival came or went has to be looked at again.
    for (const state of [...this.#dirty]) {
      const before = state.claims;
      state.claims = state.service ? serviceClaims(state.service, context) : empty;
      for (const claim of before) this.#claims.remove(claim, state);
      for (const claim of state.claims) this.#claims.add(claim, state);
      for (const claim of [...before, ...state.claims]) {
        for (const rival of this.#claims.claimants(claim)) this.#dirty.add(rival);
      }
    }
    const upserted: ServiceRow[] = [];
    const removed: string[] = [];
    for (const state of this.#dirty) {
      const before = state.rows;
      const after = state.service ? serviceRows(state.service, state.slices, context) : empty;
      const rows = after.map((row) => {
        const old = before.find(({ key }) => key === row.key);
        if (old && sameRow(old, row)) return old;
        upserted.push(row);
        return row;
      });
      state.rows = compactList(rows);
      for (const { key } of before) {
        if (!after.some((row) => row.key === key)) removed.push(key);
      }
      if (!state.service && state.slices.length === 0) this.#services.delete(state.key);
    }
    this.#dirty.clear();
    return { upserted, removed };
  }

  #keptBy(claim: string, service: ServiceRecord): string | undefined {
    const claimants = this.#claims.claimants(claim);
    if (claimants.length < 2) return undefined;
    let first = service;
    for (const { service: rival } of claimants) {
      if (rival && bySeniority(rival, first) < 0) first = rival;
    }
    return first === service ? undefined : `Service ${first.namespace}/${first.name}`;
  }

  #stateOf(key: string): ServiceState {
    let state = this.#services.get(key);
    if (!state) {
      state = { key, service: undefined, slices: empty, rows: empty, claims: empty };
      this.#services.set(key, state);
    }
    return state;
  }
}

/** `namespace/name` of the service that a problem is one of. */
function serviceOf({ kind, namespace, name, service }: ObjectProblem): string | undefined {
  const own = kind === 'service' ? name : service;
  return own === undefined ? undefined : `${namespace}/${own}`;
}

function endpointHolder(sliceKey: string): string {
  return `an endpoint's address in EndpointSlice ${sliceKey}`;
}
