import {
  canonicalRange,
  type Family,
  familyOf,
  type NodeRecord,
  type ObjectChange,
  specialAddress,
} from '@heddle/objects';
import { formatIp, parseCidr } from '@heddle/sys';
import { type PathFacts, pathTo } from './paths.ts';
import { RangeMap, RangeOwners } from './range-map.ts';
import type { NodePath, RemoteNode, Routing, Underlay, UnderlayRoute } from './rows.ts';

const families: readonly Family[] = ['IPv4', 'IPv6'];

export interface RemoteNodesOptions {
  readonly nodeName: string;
  readonly routing: Routing;
  /** The configured ranges of this node's pods, which precede those of its Node. */
  readonly podCIDRs: readonly string[];
}

/** The rows that a change changed. */
export interface RemoteNodeChanges {
  readonly upserted: readonly RemoteNode[];
  readonly removed: readonly string[];
}

/** Computes how the pods of all other nodes are reached. */
export class RemoteNodes {
  readonly #options: RemoteNodesOptions;
  readonly #nodes = new Map<string, NodeRecord>();
  /** The reasons why the newest versions of Nodes cannot be used. */
  readonly #invalid = new Map<string, string>();
  readonly #rows = new Map<string, { readonly row: RemoteNode; readonly text: string }>();
  /** The rows as last computed, with what each depends on besides the facts about this node. */
  readonly #computed = new Map<
    string,
    { readonly node: NodeRecord; readonly problems: string; readonly row: RemoteNode }
  >();
  #facts = '';
  #underlay: Underlay = { addresses: [], routes: [] };

  constructor(options: RemoteNodesOptions) {
    this.#options = options;
  }

  /** The record of this node's own Node. */
  get ownNode(): NodeRecord | undefined {
    return this.#nodes.get(this.#options.nodeName);
  }

  /** The ranges of this node's own pods. */
  get ownRanges(): readonly string[] {
    const configured = this.#options.podCIDRs.flatMap((range) => canonicalRange(range) ?? []);
    return configured.length > 0 ? configured : (this.ownNode?.podCIDRs ?? []);
  }

  /**
   * The addresses at which other nodes reach this one, at most one of each family: those of its Node that
   * it has, else those that it prefers.
   */
  get ownAddresses(): readonly string[] {
    const known = new Set(this.#underlay.addresses);
    const stated = (this.ownNode?.nodeIPs ?? []).filter((each) => known.has(each));
    return firstOfEach([...stated, ...this.#underlay.addresses.filter(isUsable)]);
  }

  /**
   * The addresses that this node has in tunnels, at most one of each family: the first ones of its own ranges,
   * which no pod gets.
   */
  get routers(): readonly string[] {
    return firstOfEach(this.ownRanges.flatMap((range) => routerOf(range) ?? []));
  }

  /** Takes changes of Nodes. An invalid one leaves the last good version, and is a problem of the row. */
  apply(changes: readonly ObjectChange<NodeRecord>[]): RemoteNodeChanges {
    let isRelevant = false;
    for (const change of changes) {
      const { name } = change.op === 'set' ? change.object : change;
      const wasInvalid = this.#invalid.has(name);
      if (change.op === 'invalid') this.#invalid.set(name, change.reason);
      else this.#invalid.delete(name);
      const before = this.#nodes.get(name);
      if (change.op === 'set') this.#nodes.set(name, change.object);
      else if (change.op === 'delete') this.#nodes.delete(name);
      const after = this.#nodes.get(name);
      isRelevant ||= change.op === 'invalid' || wasInvalid || !hasSamePaths(before, after);
    }
    return isRelevant ? this.#update() : { upserted: [], removed: [] };
  }

  /** Takes this node's addresses and routes. */
  setUnderlay(underlay: Underlay): RemoteNodeChanges {
    this.#underlay = underlay;
    this.#computed.clear();
    return this.#update();
  }

  #update(): RemoteNodeChanges {
    const upserted: RemoteNode[] = [];
    const rows = this.#compute();
    for (const row of rows) {
      const known = this.#rows.get(row.key);
      if (known?.row === row) continue;
      const text = JSON.stringify(row);
      if (known?.text === text) continue;
      this.#rows.set(row.key, { row, text });
      upserted.push(row);
    }
    const present = new Set(rows.map(({ key }) => key));
    const removed = [...this.#rows.keys()].filter((key) => !present.has(key));
    for (const key of removed) {
      this.#rows.delete(key);
      this.#computed.delete(key);
    }
    return { upserted, removed };
  }

  #compute(): RemoteNode[] {
    const { nodeName, routing } = this.#options;
    const routes = new RangeMap<UnderlayRoute>();
    for (const route of this.#underlay.routes) routes.set(route.destination, route);
    const own = this.ownAddresses;
    const { tunnel } = this.#underlay;
    const paths: PathFacts = { routing, own, routers: this.routers, tunnel, routes };
    const others = [...this.#nodes.values()]
      .filter(({ name }) => name !== nodeName)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const refused = this.#refusedRanges(others);
    const facts = JSON.stringify([paths.own, paths.routers]);
    if (facts !== this.#facts) this.#computed.clear();
    this.#facts = facts;
    const rows = others.map((node) => this.#rowOf(node, refused, paths));
    for (const [key, reason] of this.#invalid) {
      const at = rows.findIndex((row) => row.key === key);
      if (at < 0) rows.push({ key, addresses: [], ranges: [], paths: [], problems: [reason] });
      else rows[at] = { ...rows[at]!, problems: [reason, ...rows[at]!.problems] };
    }
    return rows.filter(({ key }) => key !== nodeName);
  }

  /** Returns the row of a node: the one before, if nothing that it depends on has changed. */
  #rowOf(node: NodeRecord, refused: RefusedRanges, paths: PathFacts): RemoteNode {
    const problems = node.podCIDRs.map((range) => refused.get(`${node.name} ${range}`)).join();
    const before = this.#computed.get(node.name);
    if (before?.node === node && before.problems === problems) return before.row;
    const row = remoteNode(node, refused, paths);
    this.#computed.set(node.name, { node, problems, row });
    return row;
  }

  /** Returns why ranges cannot be used, by node and range. This node comes first, then the others by name. */
  #refusedRanges(others: readonly NodeRecord[]): RefusedRanges {
    const { nodeName } = this.#options;
    const all = others.flatMap(({ podCIDRs }) => podCIDRs);
    const ranges = new RangeOwners(all);
    for (const range of this.ownRanges) ranges.add(range, nodeName);
    // A range with the address of a node would lead the packets of a tunnel to the node into the tunnel.
    const addresses = new RangeOwners(all);
    for (const address of this.ownAddresses) addresses.add(hostRange(address), nodeName);
    for (const { name, nodeIPs } of others) {
      for (const address of nodeIPs) addresses.add(hostRange(address), name);
    }
    const refused = new Map<string, string>();
    for (const { name, podCIDRs } of others) {
      for (const range of podCIDRs) {
        const holder = addresses.overlapping(range);
        const owner = ranges.overlapping(range, name);
        if (holder !== undefined) {
          refused.set(`${name} ${range}`, `range ${range} has an address of node ${holder}`);
        } else if (owner !== undefined) {
          const problem = `range ${range} overlaps a range of node ${owner}, which keeps it`;
          refused.set(`${name} ${range}`, problem);
        } else {
          ranges.add(range, name);
        }
      }
    }
    return refused;
  }
}

/** The reasons why ranges cannot be used, by `NODE RANGE`. */
type RefusedRanges = ReadonlyMap<string, string>;

function remoteNode(node: NodeRecord, refused: RefusedRanges, paths: PathFacts): RemoteNode {
  const problems: string[] = [...node.problems];
  const addresses = firstOfEach(node.nodeIPs.filter(isUsable));
  const shared = addresses.find((address) => paths.own.includes(address));
  const usable: string[] = [];
  for (const range of node.podCIDRs) {
    const problem = refused.get(`${node.name} ${range}`);
    if (problem === undefined) usable.push(range);
    else problems.push(problem);
  }
  const further = node.addresses.filter((address) => !addresses.includes(address));
  const row = {
    ...{ key: node.name, addresses, ranges: [] as string[], paths: [] as NodePath[] },
    ...(further.length === 0 ? {} : { further }),
  };
  if (node.podCIDRs.length === 0) {
    problems.push('the Node has no podCIDRs, so the addresses of its pods are unknown');
  } else if (addresses.length === 0) {
    problems.push('the Node has no InternalIP and no ExternalIP');
  } else if (shared !== undefined) {
    problems.push(`the Node has the address ${shared}, which is an address of this node`);
  } else {
    for (const family of families) {
      const ranges = usable.filter((range) => familyOf(range) === family);
      if (ranges.length === 0) continue;
      const path = pathTo(family, addresses, paths);
      if (typeof path === 'string') problems.push(`pods with ${family} addresses: ${path}`);
      else {
        row.ranges.push(...ranges);
        row.paths.push(path);
      }
    }
  }
  return { ...row, problems };
}

function isUsable(address: string): boolean {
  return specialAddress(address) === undefined;
}

/** Returns the first address of each family. */
function firstOfEach(addresses: readonly string[]): string[] {
  return families.flatMap(
    (family) => addresses.find((address) => familyOf(address) === family) ?? [],
  );
}

function hostRange(address: string): string {
  return `${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`;
}

/** Returns the second address of a range, or undefined if it has no more than two. */
function routerOf(range: string): string | undefined {
  const { address, prefixLength } = parseCidr(range)!;
  if (prefixLength > 126) return undefined;
  const bytes = address.slice();
  bytes[15]! |= 1;
  return formatIp(bytes);
}

/** Returns true if two versions of a Node make the same rows. Most changes of Nodes are of other fields. */
function hasSamePaths(a: NodeRecord | undefined, b: NodeRecord | undefined): boolean {
  if (!a || !b) return a === b;
  const facts = ({ nodeIPs, podCIDRs, problems }: NodeRecord) =>
    JSON.stringify([nodeIPs, podCIDRs, problems]);
  return facts(a) === facts(b);
}
