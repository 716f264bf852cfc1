import { familyOf, isLoopback, takesNodePorts } from './addresses.ts';
import { bySeniority, FrontendClaims, type FrontendOwner } from './conflicts.ts';
import { AddressHolders } from './external-ips.ts';
import { wantsTunnels } from './forwarding.ts';
import { hostPortClaims, hostPortRows, loopbackWatch, podRowName } from './host-ports.ts';
import { compactList, ownText } from './memory.ts';
import { nodePortAddresses } from './node-addresses.ts';
import {
  type InvalidRef,
  type NodeRecord,
  type ObjectChange,
  type ObjectRef,
  objectLabel,
  type PodRecord,
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
  /** Ranges of addresses that take NodePorts, as canonical text; absent: those of the Node object. */
  readonly nodePortRanges?: readonly string[] | undefined;
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

/**
 * All that is known of one service, or of a pod with ports of its own. It exists while there is the
 * Service or one of its slices, or the Pod.
 */
interface OwnerState {
  /** As rows have it: `namespace/name`, of a pod `namespace/pod/name`. */
  readonly key: string;
  owner: FrontendOwner | undefined;
  /** In the order of their names, so that rows don't depend on the order of arrival. */
  slices: readonly SliceRecord[];
  rows: readonly ServiceRow[];
  claims: readonly string[];
}

const empty: readonly never[] = [];

/**
 * Turns Kubernetes objects into rows, incrementally: a change costs as much as the services and pods
 * that it touches. The rows depend on the present objects only, never on the order in which they came.
 */
export class ServiceModel {
  readonly #nodeName: string;
  readonly #forwarding: Forwarding;
  #ownAddresses: readonly string[];
  #nodePortRanges: readonly string[] | undefined;
  /** Own addresses in any sense, for the refusal of externalIPs. */
  #own = new Set<string>();
  #nodeAddresses: readonly string[] = empty;
  readonly #owners = new Map<string, OwnerState>();
  readonly #slices = new Map<string, SliceRecord>();
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #pods = new Map<string, PodRecord>();
  readonly #problems = new Map<string, ObjectProblem>();
  /** The same by the service that they are problems of, `namespace/name`. */
  readonly #problemsOf = new Map<string, Map<string, ObjectProblem>>();
  readonly #holders = new AddressHolders();
  readonly #claims = new FrontendClaims<OwnerState>();
  readonly #dirty = new Set<OwnerState>();
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
    this.#nodePortRanges = context.nodePortRanges;
    this.#readOwnAddresses();
  }

  /** Objects whose newest version can't be used, by label (`Service default/web`). */
  get problems(): ReadonlyMap<string, ObjectProblem> {
    return this.#problems;
  }

  /**
   * What of a service (`namespace/name`) can't be used: itself, or the first of its slices. Or of a
   * pod, `namespace/pod/name`.
   */
  problemOf(owner: string): ObjectProblem | undefined {
    const problems = this.#problemsOf.get(owner);
    if (!problems) return undefined;
    const [first, ...rest] = problems.values();
    return rest.find(({ kind }) => kind === 'service') ?? first;
  }

  /** Where tunnels between nodes begin and end; the same object while nothing changes. */
  get tunnelEnds(): TunnelEnds {
    return this.#tunnelEnds;
  }

  /** This node's addresses that take NodePorts and hostPorts. */
  get nodePortAddresses(): readonly string[] {
    return this.#nodeAddresses;
  }

  /** Pods of this node with addresses of their own. */
  *pods(): Generator<PodRecord> {
    for (const pod of this.#pods.values()) if (pod.nodeName === this.#nodeName) yield pod;
  }

  /** Names of the Nodes that are known: with a cluster as the source, of this one unless others are needed. */
  get nodeNames(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  /** All rows as they are now. */
  *rows(): Generator<ServiceRow> {
    for (const state of this.#owners.values()) yield* state.rows;
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
      else if (ref.kind === 'pod') this.#setPod(ref, object as PodRecord | undefined);
      else this.#setNode(ref.name, object as NodeRecord | undefined);
    }
    return this.#recompute();
  }

  /** Tells which addresses this node's devices have now, and which ranges take NodePorts. */
  setOwnAddresses(
    addresses: readonly string[],
    nodePortRanges?: readonly string[] | undefined,
  ): RowChanges {
    this.#ownAddresses = addresses;
    this.#nodePortRanges = nodePortRanges;
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
    const key = ownerOf(problem);
    if (key === undefined) return;
    const others = this.#problemsOf.get(key);
    if (others) others.set(label, problem);
    else this.#problemsOf.set(key, new Map([[label, problem]]));
  }

  #forgetProblem(label: string): void {
    const problem = this.#problems.get(label);
    if (!problem) return;
    this.#problems.delete(label);
    const key = ownerOf(problem);
    if (key === undefined) return;
    const others = this.#problemsOf.get(key);
    others?.delete(label);
    if (others?.size === 0) this.#problemsOf.delete(key);
  }

  #setService(key: string, service: ServiceRecord | undefined): void {
    if (!service && !this.#owners.has(key)) return;
    const state = this.#stateOf(key);
    const before = serviceIn(state);
    state.owner = service;
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

  #setPod({ namespace, name }: ObjectRef, pod: PodRecord | undefined): void {
    const key = ownText(`${namespace}/${podRowName(name)}`);
    if (pod) this.#pods.set(key, pod);
    else this.#pods.delete(key);
    const owner = pod && pod.hostPorts.length > 0 ? pod : undefined;
    if (!owner && !this.#owners.has(key)) return;
    const state = this.#stateOf(key);
    state.owner = owner;
    this.#dirty.add(state);
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
    for (const state of this.#owners.values()) {
      const hinted = state.slices.some(({ endpoints }) =>
        endpoints.some(({ zoneHints }) => zoneHints.length > 0),
      );
      if (hinted) this.#dirty.add(state);
    }
  }

  /** A node came or went: whether tunnels lead there is another question now. */
  #touchTunnelsTo(node: string): void {
    if (this.#tunnelled === 0) return;
    for (const state of this.#owners.values()) {
      if (!wantsTunnels(serviceIn(state), this.#forwarding)) continue;
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
    for (const state of this.#owners.values()) {
      if (wantsTunnels(serviceIn(state), this.#forwarding)) this.#dirty.add(state);
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
    const state = this.#owners.get(key);
    if (state) this.#dirty.add(state);
  }

  /** Brings what follows from the own addresses up to date, and marks the services it matters to. */
  #readOwnAddresses(): void {
    const node = this.#nodes.get(this.#nodeName);
    const own = new Set([...this.#ownAddresses, ...(node?.addresses ?? empty)]);
    const addresses = nodePortAddresses(this.#ownAddresses, node, this.#nodePortRanges);
    const sameOwn = own.size === this.#own.size && [...own].every((each) => this.#own.has(each));
    if (sameOwn && addresses.join() === this.#nodeAddresses.join()) return;
    this.#own = own;
    this.#nodeAddresses = addresses;
    for (const state of this.#owners.values()) {
      if (state.owner && usesNodeAddresses(state.owner)) this.#dirty.add(state);
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
    for (const state of this.#owners.values()) {
      const { key } = state;
      hold(serviceIn(state)?.clusterIPs ?? empty, () => `the ClusterIP of Service ${key}`);
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
      isOwn: (address) => this.#own.has(address) || isLoopback(address),
      holderOf: (address) =>
        this.#own.has(address) ? 'an address of this node' : this.#holders.holderOf(address),
      keptBy: (claim, owner) => this.#keptBy(claim, owner),
    };
    // Claims first, of all that changed, because rows are decided among all claimants; one whose rival came
    // or went has to be looked at again.
    for (const state of [...this.#dirty]) {
      const before = state.claims;
      state.claims = state.owner ? claimsOf(state.owner, context) : empty;
      for (const claim of before) this.#claims.remove(claim, state);
      for (const claim of state.claims) this.#claims.add(claim, state);
      for (const claim of [...before, ...state.claims]) {
        for (const rival of this.#claims.claimants(claim)) this.#dirty.add(rival);
        for (const rival of this.#claims.claimants(loopbackWatch(claim))) this.#dirty.add(rival);
      }
    }
    const upserted: ServiceRow[] = [];
    const removed: string[] = [];
    for (const state of this.#dirty) {
      const before = state.rows;
      const after = rowsOf(state, context);
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
      if (!state.owner && state.slices.length === 0) this.#owners.delete(state.key);
    }
    this.#dirty.clear();
    return { upserted, removed };
  }

  #keptBy(claim: string, owner: FrontendOwner): string | undefined {
    let first = owner;
    for (const { owner: rival } of this.#claims.claimants(claim)) {
      if (rival && bySeniority(rival, first) < 0) first = rival;
    }
    return first === owner ? undefined : objectLabel(first);
  }

  #stateOf(key: string): OwnerState {
    let state = this.#owners.get(key);
    if (!state) {
      state = { key, owner: undefined, slices: empty, rows: empty, claims: empty };
      this.#owners.set(key, state);
    }
    return state;
  }
}

function serviceIn({ owner }: OwnerState): ServiceRecord | undefined {
  return owner?.kind === 'service' ? owner : undefined;
}

/** Whether its rows depend on this node's addresses. */
function usesNodeAddresses(owner: FrontendOwner): boolean {
  if (owner.kind === 'pod') return true;
  const { externalIPs, healthCheckPort, ports } = owner;
  return (
    externalIPs.length > 0 || healthCheckPort !== 0 || ports.some(({ nodePort }) => nodePort !== 0)
  );
}

function claimsOf(owner: FrontendOwner, context: RowContext): readonly string[] {
  return owner.kind === 'pod' ? hostPortClaims(owner, context) : serviceClaims(owner, context);
}

function rowsOf({ owner, slices }: OwnerState, context: RowContext): readonly ServiceRow[] {
  if (!owner) return empty;
  return owner.kind === 'pod' ? hostPortRows(owner, context) : serviceRows(owner, slices, context);
}

/** Key of the service or pod that a problem is one of. */
function ownerOf({ kind, namespace, name, service }: ObjectProblem): string | undefined {
  const own = kind === 'service' ? name : kind === 'pod' ? podRowName(name) : service;
  return own === undefined ? undefined : `${namespace}/${own}`;
}

function endpointHolder(sliceKey: string): string {
  return `an endpoint's address in EndpointSlice ${sliceKey}`;
}
