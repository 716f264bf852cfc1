import assert from 'node:assert/strict';
import type { ServiceInput } from '@heddle/objects';
import { changeOf } from '@heddle/objects/testing/records';
import type { ReservedPort } from '../src/reserved-ports.ts';
import type { ServiceRow } from '../src/rows.ts';
import { type NodeContext, type RowChanges, ServiceModel } from '../src/service-model.ts';

const ownAddresses = ['127.0.0.1', '::1', '192.0.2.1', 'fd00::1', 'fe80::1'];

/**
 * A service model of node `here`, which has the addresses 192.0.2.1 and fd00::1. Checks after each
 * change that the reported row changes turn the previous rows into the present ones.
 */
export class ModelCluster {
  model: ServiceModel;
  readonly #rows = new Map<string, ServiceRow>();

  constructor(...objects: unknown[]) {
    this.model = modelOf({});
    this.apply(...objects);
  }

  /** Creates or changes objects. */
  apply(...objects: unknown[]): RowChanges {
    return this.#checkChanges(this.model.apply(objects.map(changeOf)));
  }

  /** Deletes an object, `default/name` or a node's name. */
  delete(kind: ServiceInput['kind'], path: string): RowChanges {
    const [name, namespace = ''] = path.split('/').reverse();
    return this.#checkChanges(this.model.apply([{ op: 'delete', kind, namespace, name: name! }]));
  }

  setOwnAddresses(...addresses: string[]): RowChanges {
    return this.#checkChanges(this.model.setOwnAddresses(addresses));
  }

  setReserved(...ports: readonly ReservedPort[]): RowChanges {
    return this.#checkChanges(this.model.setReserved(ports));
  }

  /** Sets the ranges that take NodePorts; the node's addresses stay those of the start. */
  setNodePortRanges(...ranges: string[]): RowChanges {
    return this.#checkChanges(this.model.setOwnAddresses(ownAddresses, ranges));
  }

  get keys(): string[] {
    return [...this.#rows.keys()].sort();
  }

  /** Returns a row by key, or by `name` for port 80, TCP and IPv4 in the namespace `default`. */
  row(key: string): ServiceRow {
    const row = this.#rows.get(key.includes('/') ? key : `default/${key}:80/TCP/IPv4`);
    assert.ok(row, `no row ${key} among ${this.keys.join(', ')}`);
    return row;
  }

  /** Returns the active backends of a row as `address:port`. */
  active(key: string): string[] {
    return this.#backends(key, 'active');
  }

  draining(key: string): string[] {
    return this.#backends(key, 'draining');
  }

  /** Returns the frontends of a row as `kind address:port`. */
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

  #checkChanges(changes: RowChanges): RowChanges {
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

/** A cluster with `externalIPs: protect`: no externalIP may be an address of a node. */
export class ProtectedCluster extends ModelCluster {
  constructor(...objects: unknown[]) {
    super();
    this.model = modelOf({ externalIPs: 'protect' });
    this.apply(...objects);
  }
}

/** A cluster whose node programs at most `maxFrontends` frontends. */
export class LimitedCluster extends ModelCluster {
  constructor(maxFrontends: number, ...objects: unknown[]) {
    super();
    this.model = modelOf({ maxFrontends });
    this.apply(...objects);
  }
}
