import {
  compactList,
  type EndpointRecord,
  type Forwarding,
  familyOf,
  type InvalidRef,
  isLoopback,
  type NodeRecord,
  type ObjectChange,
  type ObjectRef,
  objectLabel,
  ownText,
  type PodRecord,
  type ServiceInput,
  type ServiceRecord,
  type SliceRecord,
  takesNodePorts,
} from '@heddle/objects';
import { Admission, refusedRow } from './admission.ts';
import { bySeniority, FrontendClaims, type FrontendOwner } from './conflicts.ts';
import { AddressHolders, type HolderKind } from './external-ips.ts';
import { wantsTunnels } from './forwarding.ts';
import { hostPortClaims, hostPortRows, loopbackWatch, podRowName } from './host-ports.ts';
import { nodePortAddresses } from './node-addresses.ts';
import {
  apiServer,
  apiServerPorts,
  isApiServerSlice,
  type ReservedPort,
  reservedFor,
} from './reserved-ports.ts';
import type { Frontend, ServiceRow } from './rows.ts';
import { type RowContext, sameRow, serviceClaims, serviceRows } from './service-rows.ts';

export interface NodeContext {
  /** The name of this node's Node object; empty if there is none. */
  readonly nodeName: string;
  /** The addresses of this node's network interfaces, as text; may include loopback. */
  readonly ownAddresses: readonly string[];
  /**
   * The ranges of addresses that take NodePorts, as canonical text. Default: the addresses of the
   * Node object.
   */
  readonly nodePortRanges?: readonly string[] | undefined;
  /**
   * Forwarding of external packets to backends on other nodes, for services without the annotation.
   * Default: snat.
   */
  readonly forwarding?: Forwarding;
  /**
   * `serve`: an externalIP may be an address of a node, as in kube-proxy. `protect`: it may not,
   * because anyone who may write a Service may write any externalIP. Default: serve.
   */
  readonly externalIPs?: 'serve' | 'protect';
  /**
   * The largest number of frontends to program; older objects have precedence. Default: no limit.
   */
  readonly maxFrontends?: number;
}

/** The addresses between which nodes may tunnel packets to each other. */
export interface TunnelEnds {
  /** The other nodes' addresses; none while no service needs tunnels. */
  readonly peers: readonly string[];
  /**
   * This node's addresses as the other nodes know them: those in its Node object that are on its
   * network interfaces.
   */
  readonly own: readonly string[];
}

/** The changes of the set of rows. An upserted row differs from its previous version. */
export interface RowChanges {
  readonly upserted: readonly ServiceRow[];
  /** The keys of removed rows. */
  readonly removed: readonly string[];
}

/** An object whose newest version can't be used. */
export interface ObjectProblem extends InvalidRef {
  readonly reason: string;
}

/**
 * The state of one service, or of a pod with hostPorts. It exists while the Service or one of its
 * slices, or the Pod, exists.
 */
interface OwnerState {
  /** `namespace/name`, or `namespace/pod/name` for a pod, as in rows. */
  readonly key: string;
  owner: FrontendOwner | undefined;
  /** Sorted by name, so that rows don't depend on the order of arrival. */
  slices: readonly SliceRecord[];
  rows: readonly ServiceRow[];
  /** The rows without any limit on frontends. */
  wanted: readonly ServiceRow[];
  claims: readonly string[];
}

const empty: readonly never[] = [];

/**
 * Computes rows from Kubernetes objects, incrementally: the cost of a change is that of the
 * services and pods that it affects. The rows depend only on the present objects, never on their
 * order of arrival.
 */
export class ServiceModel {
  readonly #nodeName: string;
  readonly #forwarding: Forwarding;
  readonly #protectsNodes: boolean;
  /** The reserved ports set by the agent; `#reserved` adds those in the slices of the API server's service. */
  #reservedByAgent: readonly ReservedPort[] = empty;
  #reserved: readonly ReservedPort[] = empty;
  #ownAddresses: readonly string[];
  #nodePortRanges: readonly string[] | undefined;
  /**
   * The addresses of the network interfaces and of the Node object, which externalIPs are checked
   * against.
   */
  #own = new Set<string>();
  #nodeAddresses: readonly string[] = empty;
  readonly #owners = new Map<string, OwnerState>();
  readonly #slices = new Map<string, SliceRecord>();
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #ownPods = new Map<string, PodRecord>();
  readonly #problems = new Map<string, ObjectProblem>();
  /** The same problems by owner (`namespace/name`), then by label. */
  readonly #problemsOf = new Map<string, Map<string, ObjectProblem>>();
  readonly #holders = new AddressHolders();
  readonly #claims = new FrontendClaims<OwnerState>();
  readonly #dirty = new Set<OwnerState>();
  readonly #admission: Admission;
  /** The owners that had a refused row at the last computation. */
  #refusedOwners = new Set<OwnerState>();
  readonly #newlyWatched = new Set<string>();
  /** The number of services that need tunnels. */
  #tunnelUsers = 0;
  #tunnelEnds: TunnelEnds = { peers: empty, own: empty };
  /**
   * True if nodes, addresses or the need for tunnels have changed since `#tunnelEnds` was computed.
   */
  #tunnelEndsStale = true;

  constructor(context: NodeContext) {
    this.#nodeName = context.nodeName;
    this.#forwarding = context.forwarding ?? 'snat';
    this.#admission = new Admission(context.maxFrontends ?? Number.POSITIVE_INFINITY);
    this.#protectsNodes = context.externalIPs === 'protect';
    this.#ownAddresses = context.ownAddresses;
    this.#nodePortRanges = context.nodePortRanges;
    this.#readOwnAddresses();
  }

  /** The objects whose newest version can't be used, by label (`Service default/web`). */
  get problems(): ReadonlyMap<string, ObjectProblem> {
    return this.#problems;
  }

  /**
   * Returns the problem of a service (`namespace/name`) or of the first of its slices that can't be
   * used, or the problem of a pod (`namespace/pod/name`).
   */
  problemOf(owner: string): ObjectProblem | undefined {
    const problems = this.#problemsOf.get(owner);
    if (!problems) return undefined;
    const [first, ...rest] = problems.values();
    return rest.find(({ kind }) => kind === 'service') ?? first;
  }

  /** The addresses of tunnels between nodes; the same object while nothing changes. */
  get tunnelEnds(): TunnelEnds {
    return this.#tunnelEnds;
  }

  /** This node's addresses that take NodePorts and hostPorts. */
  get nodePortAddresses(): readonly string[] {
    return this.#nodeAddresses;
  }

  /** Iterates over the pods of this node that have addresses of their own. */
  *pods(): Generator<PodRecord> {
    yield* this.#ownPods.values();
  }

  /** Iterates over all present rows. */
  *rows(): Generator<ServiceRow> {
    for (const state of this.#owners.values()) yield* state.rows;
  }

  /** Applies changes of objects and returns the resulting changes of rows. */
  apply(changes: readonly ObjectChange<ServiceInput>[]): RowChanges {
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

  /** Sets the addresses of this node's network interfaces and the ranges that take NodePorts. */
  setOwnAddresses(
    addresses: readonly string[],
    nodePortRanges?: readonly string[] | undefined,
  ): RowChanges {
    this.#ownAddresses = addresses;
    this.#nodePortRanges = nodePortRanges;
    this.#tunnelEndsStale = true;
    this.#readOwnAddresses();
    return this.#recompute();
  }

  /**
   * Sets TCP addresses and ports that no object may use, in addition to those of the API server's
   * slices.
   */
  setReserved(ports: readonly ReservedPort[]): RowChanges {
    this.#reservedByAgent = ports;
    this.#readReserved();
    return this.#recompute();
  }

  #noteProblem({ kind, namespace, name, reason, service }: ObjectProblem): void {
    const label = objectLabel({ kind, namespace, name });
    this.#forgetProblem(label);
    // If the present version doesn't name its service, the last good version does.
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
      this.#tunnelUsers += wants ? 1 : -1;
      this.#tunnelEndsStale = true;
    }
    // New addresses first, so that the holders of an address that stays are kept.
    const watched = new Set(service ? foreignAddresses(service) : empty);
    for (const address of watched) {
      if (this.#holders.watch(address, key)) this.#newlyWatched.add(address);
    }
    for (const address of before ? foreignAddresses(before) : empty) {
      if (!watched.has(address)) this.#holders.unwatch(address, key);
    }
    this.#updateHolders(
      `the ClusterIP of Service ${key}`,
      'clusterIP',
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
    if ((before && isApiServerSlice(before)) || (slice && isApiServerSlice(slice)))
      this.#readReserved();
    if (this.#holders.isEmpty) return;
    for (const kind of ['pod', 'endpoint'] as const) {
      const held = (of: SliceRecord | undefined) =>
        (of?.endpoints ?? empty)
          .filter((endpoint) => kindOf(endpoint) === kind)
          .map(({ address }) => address);
      this.#updateHolders(endpointHolder(key, kind), kind, held(before), held(slice));
    }
  }

  #setPod({ namespace, name }: ObjectRef, pod: PodRecord | undefined): void {
    const key = ownText(`${namespace}/${podRowName(name)}`);
    if (pod?.nodeName === this.#nodeName) this.#ownPods.set(key, pod);
    else this.#ownPods.delete(key);
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
    this.#updateHolders(
      `an address of Node ${name}`,
      'node',
      before?.addresses ?? empty,
      node?.addresses ?? empty,
    );
    this.#tunnelEndsStale = true;
    if ((before === undefined) !== (node === undefined)) this.#markTunnelsTo(name);
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

  /** Marks the services with tunnels to a node that appeared or disappeared. */
  #markTunnelsTo(node: string): void {
    if (this.#tunnelUsers === 0) return;
    for (const state of this.#owners.values()) {
      if (!wantsTunnels(serviceIn(state), this.#forwarding)) continue;
      const hasEndpointThere = state.slices.some(({ endpoints }) =>
        endpoints.some(({ nodeName }) => nodeName === node),
      );
      if (hasEndpointThere) this.#dirty.add(state);
    }
  }

  /** Updates the addresses of tunnels and marks the affected services. */
  #readTunnelEnds(): void {
    if (!this.#tunnelEndsStale) return;
    this.#tunnelEndsStale = false;
    const { peers, own } = this.#tunnelEnds;
    const others = new Set<string>();
    for (const { name, addresses } of this.#tunnelUsers > 0 ? this.#nodes.values() : empty) {
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

  #updateHolders(
    holder: string,
    kind: HolderKind,
    before: readonly string[],
    after: readonly string[],
  ): void {
    if (this.#holders.isEmpty) return;
    for (const address of before) {
      for (const user of this.#holders.release(address, holder)) this.#markDirty(user);
    }
    for (const address of after) {
      for (const user of this.#holders.hold(address, holder, kind)) this.#markDirty(user);
    }
  }

  #markDirty(key: string): void {
    const state = this.#owners.get(key);
    if (state) this.#dirty.add(state);
  }

  /** Updates what depends on the node's own addresses and marks the affected services. */
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

  /**
   * Finds the holders of addresses that are newly requested as externalIP or load balancer address.
   */
  #findHolders(): void {
    const hold = (addresses: Iterable<string>, kind: HolderKind, holder: () => string) => {
      for (const address of addresses) {
        if (this.#newlyWatched.has(address)) this.#holders.hold(address, holder(), kind);
      }
    };
    for (const { name, addresses } of this.#nodes.values()) {
      hold(addresses, 'node', () => `an address of Node ${name}`);
    }
    for (const state of this.#owners.values()) {
      const { key } = state;
      const clusterIPs = serviceIn(state)?.clusterIPs ?? empty;
      hold(clusterIPs, 'clusterIP', () => `the ClusterIP of Service ${key}`);
    }
    for (const [key, { endpoints }] of this.#slices) {
      for (const endpoint of endpoints) {
        if (!this.#newlyWatched.has(endpoint.address)) continue;
        const kind = kindOf(endpoint);
        this.#holders.hold(endpoint.address, endpointHolder(key, kind), kind);
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
        hasTunnelAddress: (family) =>
          this.#tunnelEnds.own.some((address) => familyOf(address) === family),
      },
      isOwn: (address) => this.#own.has(address) || isLoopback(address),
      refusal: (frontend) => this.#refusal(frontend),
      keptBy: (claim, owner) => this.#keptBy(claim, owner),
    };
    // All changed claims come first, because a conflict is resolved among all claimants; an owner
    // whose rival appeared or disappeared is computed again.
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
    for (const state of this.#dirty) {
      const before = state.wanted;
      const wanted = rowsOf(state, context).map((row) => reuseRow(before, row));
      state.wanted = compactList(wanted);
      this.#admission.count(state.key.slice(0, state.key.indexOf('/')), before, state.wanted);
    }
    const refused = this.#admission.refusals(this.#owners.values());
    this.#markRefused(refused);
    const upserted: ServiceRow[] = [];
    const removed: string[] = [];
    for (const state of this.#dirty) {
      const before = state.rows;
      const rows = state.wanted.map((wanted) => {
        const reason = refused.get(wanted.key);
        const row = reuseRow(before, reason === undefined ? wanted : refusedRow(wanted, reason));
        if (!before.includes(row)) upserted.push(row);
        return row;
      });
      state.rows = compactList(rows);
      for (const { key } of before) {
        if (!rows.some((row) => row.key === key)) removed.push(key);
      }
      if (!state.owner && state.slices.length === 0) this.#owners.delete(state.key);
    }
    this.#dirty.clear();
    return { upserted, removed };
  }

  /** Marks the owners that have, or had, a refused row. */
  #markRefused(refused: ReadonlyMap<string, string>): void {
    if (refused.size === 0 && this.#refusedOwners.size === 0) return;
    for (const state of this.#refusedOwners) this.#dirty.add(state);
    this.#refusedOwners = new Set();
    for (const state of this.#owners.values()) {
      if (!state.wanted.some(({ key }) => refused.has(key))) continue;
      this.#refusedOwners.add(state);
      this.#dirty.add(state);
    }
  }

  /** Updates the reserved ports and marks the affected objects. */
  #readReserved(): void {
    const slices = this.#owners.get('default/kubernetes')?.slices ?? empty;
    const reserved = [...this.#reservedByAgent, ...slices.flatMap(apiServerPorts)];
    if (JSON.stringify(reserved) === JSON.stringify(this.#reserved)) return;
    this.#reserved = reserved;
    for (const state of this.#owners.values()) {
      if (state.owner && usesNodeAddresses(state.owner)) this.#dirty.add(state);
    }
  }

  /**
   * Returns the reason why no object may have a frontend, as a sentence, or undefined. At an
   * address of this node only the API server's port is reserved, because the node may run the
   * control plane; at its other addresses all ports are. The address of a pod on the host network
   * is the node's.
   */
  #refusal(frontend: Frontend): string | undefined {
    const { kind, address, port, protocol } = frontend;
    if (kind === 'ClusterIP') return undefined;
    const isForeign = kind === 'ExternalIP' || kind === 'LoadBalancer';
    const name = kind === 'ExternalIP' ? `externalIP ${address}` : `load balancer ${address}`;
    const isOwn = this.#own.has(address);
    const protectsNode = this.#protectsNodes && kind === 'ExternalIP';
    if (isOwn && protectsNode) return `${name} is refused: it is an address of this node`;
    const holder = reservedFor(this.#reserved, frontend, (each) => this.#own.has(each));
    if (holder) {
      const what = isForeign ? name : kind;
      return `${what} is refused: port ${port}/${protocol} is reserved for ${holder}`;
    }
    if (!isForeign) return undefined;
    const kinds: HolderKind[] = ['clusterIP'];
    if (protectsNode) kinds.push('node');
    if (!isOwn) {
      if (this.#reserved.some((each) => each.address === address)) {
        return `${name} is refused: it is the address of ${apiServer}`;
      }
      if (protectsNode || !this.#holders.holderOf(address, ['node'])) kinds.push('pod');
      // A hand-written endpoint without a node may be the load balancer itself.
      if (kinds.includes('pod') && kind === 'ExternalIP') kinds.push('endpoint');
    }
    const other = this.#holders.holderOf(address, kinds);
    return other && `${name} is refused: it is ${other}`;
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
      state = { key, owner: undefined, slices: empty, rows: empty, wanted: empty, claims: empty };
      this.#owners.set(key, state);
    }
    return state;
  }
}

function serviceIn({ owner }: OwnerState): ServiceRecord | undefined {
  return owner?.kind === 'service' ? owner : undefined;
}

/** Returns the previous row if it is equal, so that its identity stays. */
function reuseRow(before: readonly ServiceRow[], row: ServiceRow): ServiceRow {
  const old = before.find(({ key }) => key === row.key);
  return old && sameRow(old, row) ? old : row;
}

/** Returns true if the owner's rows depend on this node's addresses. */
function usesNodeAddresses(owner: FrontendOwner): boolean {
  if (owner.kind === 'pod') return true;
  const { healthCheckPort, ports } = owner;
  return (
    foreignAddresses(owner).length > 0 ||
    healthCheckPort !== 0 ||
    ports.some(({ nodePort }) => nodePort !== 0)
  );
}

/** Returns the addresses that a service requests and that may belong to another object. */
function foreignAddresses({ externalIPs, loadBalancerIPs }: ServiceRecord): readonly string[] {
  if (loadBalancerIPs.length === 0) return externalIPs;
  return externalIPs.length === 0 ? loadBalancerIPs : [...externalIPs, ...loadBalancerIPs];
}

function claimsOf(owner: FrontendOwner, context: RowContext): readonly string[] {
  return owner.kind === 'pod' ? hostPortClaims(owner, context) : serviceClaims(owner, context);
}

function rowsOf({ owner, slices }: OwnerState, context: RowContext): readonly ServiceRow[] {
  if (!owner) return empty;
  return owner.kind === 'pod' ? hostPortRows(owner, context) : serviceRows(owner, slices, context);
}

/** Returns the key of the service or pod that a problem concerns. */
function ownerOf({ kind, namespace, name, service }: ObjectProblem): string | undefined {
  const own = kind === 'service' ? name : kind === 'pod' ? podRowName(name) : service;
  return own === undefined ? undefined : `${namespace}/${own}`;
}

/** Returns `pod` for an endpoint with a node name, which controllers set for pods. */
function kindOf({ nodeName }: EndpointRecord): 'pod' | 'endpoint' {
  return nodeName === '' ? 'endpoint' : 'pod';
}

function endpointHolder(sliceKey: string, kind: 'pod' | 'endpoint'): string {
  return kind === 'pod'
    ? `the address of a pod in EndpointSlice ${sliceKey}`
    : `an endpoint's address in EndpointSlice ${sliceKey}`;
}
