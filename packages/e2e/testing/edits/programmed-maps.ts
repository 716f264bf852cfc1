import { currentPins } from '@heddle/datapath';
import {
  addressRole,
  backendSize,
  backendState,
  decodeBackend,
  decodeService,
  decodeServiceKey,
  serviceAlgorithm,
  serviceFlags,
  serviceScope,
} from '@heddle/datapath/abi';
import { type Bpf, BpfMap, type Mapping } from '@heddle/ebpf';
import { formatEndpoint, formatIp } from '@heddle/sys';

/** The offset of `state` in struct backend. Most elements are free and need no decoding. */
const stateOffset = 19;

const protocols: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
const algorithms: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(serviceAlgorithm).map(([name, value]) => [value, name]),
);

/** Reads the pinned maps of a node in the way that the BPF programs do. */
export class ProgrammedMaps implements Disposable {
  readonly #services: BpfMap;
  readonly #addresses: BpfMap;
  readonly #backends: Mapping;
  readonly #slots: Mapping;

  /** `bpffs` is the agent's, whose maps must exist. */
  constructor(bpf: Bpf, bpffs: string) {
    const open = (name: string) => BpfMap.openPinned(bpf, `${currentPins(bpffs).maps}/${name}`);
    const mapped = (name: string) => {
      using map = open(name);
      return map.mmap(false);
    };
    this.#services = open('services');
    this.#addresses = open('addresses');
    this.#backends = mapped('backends');
    this.#slots = mapped('slots');
  }

  /**
   * Returns a line for each frontend (with each backend of its service and the number of its
   * slots), backend and address, sorted. A slot with a wrong backend is marked.
   */
  lines(): string[] {
    const lines: string[] = [];
    const slots = this.#slots.bytes;
    const words = new Uint32Array(slots.buffer, slots.byteOffset, slots.length / 4);
    const backends = this.#backends.bytes;
    const byService = new Map<number, Map<string, { state: string; slots: number }>>();
    for (let at = backendSize; at < backends.length; at += backendSize) {
      if (backends[at + stateOffset] === backendState.gone) continue;
      const backend = decodeBackend(backends, at);
      const state = backend.state === backendState.draining ? 'draining' : 'active';
      const name = formatEndpoint(formatIp(backend.address), backend.port);
      lines.push(
        `backend ${name}/${protocols[backend.protocol]} ${state} weight ${backend.weight}`,
      );
      const ofService = byService.get(backend.service) ?? new Map();
      byService.set(backend.service, ofService.set(name, { state, slots: 0 }));
    }
    for (const [keyBytes, value] of this.#services.entries()) {
      const key = decodeServiceKey(keyBytes);
      const service = decodeService(value);
      const own = byService.get(service.id) ?? new Map<string, { state: string; slots: number }>();
      for (const each of own.values()) each.slots = 0;
      let stray = '';
      for (let i = 0; i < service.slotCount; i++) {
        const id = words[(service.firstSlot + i) * 2]!;
        const backend = decodeBackend(backends, id * backendSize);
        const found =
          backend.service === service.id
            ? own.get(formatEndpoint(formatIp(backend.address), backend.port))
            : undefined;
        if (found) found.slots++;
        else stray = ` slot ${service.firstSlot + i} has backend ${id} of another service`;
      }
      const algorithm = algorithms[service.algorithm]!;
      const text = [...own]
        .map(([name, { state, slots: count }]) => {
          // With a hash only matters that each backend has slots, not how many.
          const share = algorithm === 'hash' ? (count > 0 ? 'some' : 'none') : `${count}`;
          return `${name} ${state} ${share}`;
        })
        .sort()
        .join(', ');
      const outside = key.scope === serviceScope.external ? ' outside' : '';
      const silent = service.flags === serviceFlags.dropIfEmpty ? ' silent' : '';
      const endpoint = formatEndpoint(formatIp(key.address), key.port);
      const name = `${endpoint}/${protocols[key.protocol]}${outside}${silent}`;
      lines.push(
        `frontend ${name} ${algorithm} affinity ${service.affinitySeconds}: ${text}${stray}`,
      );
    }
    for (const [key, value] of this.#addresses.entries()) {
      const roles = Object.entries(addressRole)
        .filter(([, bit]) => value[0]! & bit)
        .map(([role]) => role);
      lines.push(`address ${formatIp(key)} ${roles.sort().join(' ')}`);
    }
    return lines.sort();
  }

  [Symbol.dispose](): void {
    for (const each of [this.#services, this.#addresses, this.#backends, this.#slots]) {
      each[Symbol.dispose]();
    }
  }
}
