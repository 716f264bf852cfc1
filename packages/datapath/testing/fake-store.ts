import { BatchError } from '@heddle/ebpf';
import type { ServiceRow } from '@heddle/services';
import { errno, formatEndpoint, formatIp, SysError } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText } from '../src/core/keyed-map.ts';
import type { ArrayMemory } from '../src/core/mapped-array.ts';
import {
  addressKeySize,
  addressRole,
  backendSize,
  backendState,
  backendStatsSize,
  decodeBackend,
  decodeService,
  decodeServiceKey,
  serviceKeySize,
  serviceSize,
} from '../src/generated/abi.ts';
import { type ServiceStore, Slots } from '../src/services/service-store.ts';

/** A hash map in memory that fails like the kernel's: E2BIG when full, and batches stop at the first failure. */
export class FakeMap implements KeyedMap {
  readonly info: { name: string; maxEntries: number };
  readonly content = new Map<string, Uint8Array>();
  writes = 0;
  /** Returns true for an update that is to fail with ENOMEM; `number` counts updates from 0. */
  fails: (number: number, key: string, value: Uint8Array) => boolean = () => false;
  #updates = 0;
  /** Called after each write. */
  onWrite: () => void = () => {};
  readonly #keySize: number;
  readonly #valueSize: number;

  constructor(name: string, maxEntries: number, keySize: number, valueSize: number) {
    this.info = { name, maxEntries };
    this.#keySize = keySize;
    this.#valueSize = valueSize;
  }

  update(key: Uint8Array, value: Uint8Array): void {
    const text = keyText(key);
    if (this.fails(this.#updates++, text, value)) {
      throw new SysError('bpf', errno.ENOMEM, `update map ${this.info.name}`);
    }
    if (!this.content.has(text) && this.content.size >= this.info.maxEntries) {
      throw new SysError('bpf', errno.E2BIG, `update map ${this.info.name}`);
    }
    this.content.set(text, value.slice());
    this.writes++;
    this.onWrite();
  }

  delete(key: Uint8Array): boolean {
    this.writes++;
    const wasThere = this.content.delete(keyText(key));
    this.onWrite();
    return wasThere;
  }

  *entries(): Generator<readonly [Uint8Array, Uint8Array]> {
    for (const [text, value] of this.content) {
      const key = new Uint8Array(this.#keySize);
      keyBytes(text, key, 0);
      yield [key, value.slice()];
    }
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    for (let i = 0; i < count; i++) {
      const part = (bytes: Uint8Array, size: number) => bytes.subarray(i * size, (i + 1) * size);
      try {
        this.update(part(keys, this.#keySize), part(values, this.#valueSize));
      } catch (error) {
        throw new BatchError(error as SysError, i);
      }
    }
  }
}

export interface FakeStore extends ServiceStore {
  readonly services: FakeMap;
  readonly addresses: FakeMap;
  readonly slotBytes: Uint8Array;
  readonly backendBytes: Uint8Array;
}

const memoryOf = (bytes: Uint8Array, length: number): ArrayMemory => ({
  length,
  first: () => bytes,
  wrote() {},
});

export function fakeStore(sizes = { services: 1000, backends: 1000, slots: 5000 }): FakeStore {
  const slotBytes = new Uint8Array(sizes.slots * 8);
  const backendBytes = new Uint8Array(sizes.backends * backendSize);
  const statBytes = new Uint8Array(sizes.backends * backendStatsSize);
  return {
    services: new FakeMap('services', sizes.services, serviceKeySize, serviceSize),
    addresses: new FakeMap('addresses', sizes.services + sizes.backends, addressKeySize, 4),
    addressFilter: memoryOf(new Uint8Array(64), 8),
    slots: new Slots(memoryOf(slotBytes, sizes.slots)),
    slotBytes,
    backends: memoryOf(backendBytes, sizes.backends),
    backendBytes,
    backendStats: memoryOf(statBytes, sizes.backends),
  };
}

const protocols: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

/** The content of the maps: the service of each frontend, and the number of slots of each backend. */
export interface View {
  readonly frontends: Record<string, { affinity: number; draws: Record<string, number> }>;
  /** Backends that are not removed, the draining ones marked. */
  readonly backends: string[];
  readonly addresses: Record<string, number>;
}

/** Reads a store as the programs do. Throws when a slot has no active backend of its service. */
export function viewOf(
  store: Pick<FakeStore, 'slotBytes' | 'backendBytes'> &
    Pick<ServiceStore, 'services' | 'addresses'>,
): View {
  const words = new Uint32Array(
    store.slotBytes.buffer,
    store.slotBytes.byteOffset,
    store.slotBytes.length / 4,
  );
  const frontends: View['frontends'] = {};
  for (const [keyBytes, valueBytes] of store.services.entries()) {
    const key = decodeServiceKey(keyBytes);
    const value = decodeService(valueBytes);
    const draws: Record<string, number> = {};
    for (let i = 0; i < value.slotCount; i++) {
      const id = words[(value.firstSlot + i) * 2]!;
      const backend = decodeBackend(store.backendBytes, id * backendSize);
      if (backend.service !== value.id || backend.state !== backendState.active) {
        throw new Error(
          `slot ${value.firstSlot + i} leads to backend ${id} of service ${backend.service}, not ${value.id}`,
        );
      }
      const name = formatEndpoint(formatIp(backend.address), backend.port);
      draws[name] = (draws[name] ?? 0) + 1;
    }
    const name = `${formatEndpoint(formatIp(key.address), key.port)}/${protocols[key.protocol]}`;
    frontends[name] = { affinity: value.affinitySeconds, draws };
  }
  const backends: string[] = [];
  for (let at = backendSize; at < store.backendBytes.length; at += backendSize) {
    const backend = decodeBackend(store.backendBytes, at);
    if (backend.state === backendState.gone) continue;
    const drains = backend.state === backendState.draining ? ' draining' : '';
    backends.push(
      `${formatEndpoint(formatIp(backend.address), backend.port)}/${protocols[backend.protocol]}${drains}`,
    );
  }
  const addresses: Record<string, number> = {};
  for (const [key, value] of store.addresses.entries()) addresses[formatIp(key)] = value[0]!;
  return { frontends, backends: backends.sort(), addresses };
}

const roles = {
  ClusterIP: addressRole.service,
  NodePort: addressRole.node,
  LoadBalancer: addressRole.external,
  ExternalIP: addressRole.external,
  HostPort: addressRole.node,
};

/** Returns the view that rows should give, made from the rows alone (unweighted algorithms). */
export function expectedView(rows: Iterable<ServiceRow>): View {
  const view: View = { frontends: {}, backends: [], addresses: {} };
  const addRole = (address: string, role: number) => {
    view.addresses[address] = (view.addresses[address] ?? 0) | role;
  };
  for (const row of rows) {
    const draws: Record<string, number> = {};
    for (const { address, port, state } of row.backends) {
      const name = formatEndpoint(address, port);
      if (state === 'active') draws[name] = 1;
      view.backends.push(`${name}/${row.protocol}${state === 'draining' ? ' draining' : ''}`);
      if (row.protocol === 'UDP') addRole(address, addressRole.udpBackend);
    }
    for (const { address, port, protocol, kind } of row.frontends) {
      view.frontends[`${formatEndpoint(address, port)}/${protocol}`] = {
        affinity: row.affinitySeconds,
        draws,
      };
      if (address !== '0.0.0.0' && address !== '::') addRole(address, roles[kind]);
    }
  }
  view.backends.sort();
  return view;
}
