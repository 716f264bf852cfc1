import assert from 'node:assert/strict';
import type { ObjectKind } from '@heddle/objects';
import { changeOf } from '@heddle/objects/testing/records';
import type { ReservedPort } from '../src/reserved-ports.ts';
import type { ServiceRow } from '../src/rows.ts';
import { type NodeContext, type RowChanges, ServiceModel } from '../src/service-model.ts';

const ownAddresses = ['127.0.0.1', '::1', '192.0.2.1', 'fd00::1', 'fe80::1'];

/**
 * A cluster as the agent on node `here` sees it. The node has 192.0.2.1 and fd00::1. It checks
 * along the way that the changes given out lead from the rows before to the rows after.
 */
export class Cluster {
  model: ServiceModel;
  readonly #rows = new Map<string, ServiceRow>();

  constructor(...objects: unknown[]) {
    this.model = modelOf({});
    this.apply(...objects);
  }

  /** Creates or changes objects. */
  apply(...objects: unknown[]): RowChanges {
    return this.#follow(this.model.apply(objects.map(changeOf)));
  }

  /** Deletes an object, `default/name` or a node's name. */
  delete(kind: ObjectKind, path: string): RowChanges {
    const [name, namespace = ''] = path.split('/').reverse();
    return this.#follow(this.model.apply([{ op: 'delete', kind, namespace, name: name! }]));
  }

  setOwnAddresses(...addresses: string[]): RowChanges {
    return this.#follow(this.model.setOwnAddresses(addresses));
  }

  setReserved(...ports: readonly ReservedPort[]): RowChanges {
    return this.#follow(this.model.setReserved(ports));
  }

  /** Of the addresses that it has from the start, and of its Node. */
  setNodePortRanges(...ranges: string[]): RowChanges {
    return this.#follow(this.model.setOwnAddresses(ownAddresses, ranges));
  }

  get keys(): string[] {
    return [...this.#rows.keys()].sort();
  }

  /** A row by key, or by `name` for port 80, TCP and IPv4 in the namespace `default`. */
  row(key: string): ServiceRow {
    const row = this.#rows.get(key.includes('/') ? key : `default/${key}:80/TCP/IPv4`);
    assert.ok(row, `no row ${key} among ${this.keys.join(', ')}`);
    return row;
  }

  /** Active backends of a row, as `address:port`. */
  active(key: string): string[] {
    return this.#backends(key, 'active');
  }

  draining(key: string): string[] {
    return this.#backends(key, 'draining');
  }

  /** Frontends of a row, as `kind address:port`. */
  frontends(key: string): string[] {
    return this.row(key).frontends.map(({ kind, address, port }) => `${kind} ${address}:${port}`);
  }

  problems(key: string): readonly string[] {
    return this.row(key).problems;
  }

  #backends(key: string, state: string): string[] {
    const { backends } = this.row(key);
    return backends
      .filter((backend) => backend.state === state)
      .map(({ address, port }) => `${address}:${port}`);
  }

  #follow(changes: RowChanges): RowChanges {
    for (const key of changes.removed) assert.ok(this.#rows.delete(key), `${key} was not there`);
    for (const row of changes.upserted) {
      assert.notDeepEqual(row, this.#rows.get(row.key), `${row.key} did not change`);
      this.#rows.set(row.key, row);
    }
    const sorted = (rows: Iterable<ServiceRow>) =>
      [...rows].sort((a, b) => (a.key < b.key ? -1 : 1));
    assert.deepEqual(sorted(this.model.rows()), sorted(this.#rows.values()));
    return changes;
  }
}

function modelOf(more: Partial<NodeContext>): ServiceModel {
  return new ServiceModel({ nodeName: 'here', ownAddresses, ...more });
}

/** One whose configuration lets no externalIP be an address of a node. */
export class ProtectedCluster extends Cluster {
  constructor(...objects: unknown[]) {
    super();
    this.model = modelOf({ externalIPs: 'protect' });
    this.apply(...objects);
  }
}

/** One whose node serves at most so many frontends. */
export class LimitedCluster extends Cluster {
  constructor(mostFrontends: number, ...objects: unknown[]) {
    super();
    this.model = modelOf({ mostFrontends });
    this.apply(...objects);
  }
}
