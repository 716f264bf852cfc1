import { exitCodes, Failure } from '@heddle/control/failure';
import { isMapName, loadShared } from '@heddle/datapath';
import {
  attachCgroup,
  type BpfMap,
  type LoadedObject,
  type ObjectSpec,
  readObject,
  withMap,
} from '@heddle/ebpf';
import { VirtualClock, VmHost } from '@heddle/vm';
import {
  type Dump,
  type DumpedMap,
  type DumpedNetwork,
  entriesOf,
  mapNamed,
} from '../dump/dump.ts';
import { PodNetwork } from './pods.ts';
import { dumpedRoutes, macBytes } from './routes.ts';

/** The objects by name, each with a program that uses its constants. */
const objectPrograms = {
  ...{ socket: 'connect4', node: 'node_ingress', xdp: 'node_xdp' },
  pod: 'from_pod',
} as const;
export type ObjectName = keyof typeof objectPrograms;
type Specs = Record<Exclude<ObjectName, 'pod'>, ObjectSpec> & { readonly pod?: ObjectSpec };

const noAddresses = { v4: '192.0.2.1', v6: '2001:db8::1' };

/**
 * Runs the programs of a dumped node in the userspace machine, with its constants and copies of its
 * maps at the time of the dump. Programs change only the copies.
 */
export class TracedNode implements Disposable {
  readonly host: VmHost;
  /** The objects; that of pods only where Heddle is their network. */
  readonly specs: Readonly<Specs>;
  readonly #loaded: LoadedObject[] = [];

  constructor(dump: Dump) {
    const { head, network } = dump;
    this.host = new VmHost({
      base: new VirtualClock(head.monotonicNs, Date.parse(head.created)),
      name: 'node',
      addresses: noAddresses,
      cpus: head.cpus,
      ...(network ? { routes: dumpedRoutes(network), linkAddress: addressesOf(network) } : {}),
    });
    const spec = (name: ObjectName) => {
      const bytes = dump.objects.get(name);
      if (!bytes) throw new Failure(exitCodes.failed, `trace: the dump has no object ${name}`);
      return asDumped(readObject(bytes, `${name}.o`), dump, objectPrograms[name]);
    };
    const hasPods = dump.objects.has('pod') && new PodNetwork(dump).exists;
    this.specs = {
      ...{ socket: spec('socket'), node: spec('node'), xdp: spec('xdp') },
      ...(hasPods ? { pod: spec('pod') } : {}),
    };
    const maps: Record<string, BpfMap> = {};
    for (const spec of Object.values(this.specs)) {
      const loaded = loadShared(this.host.bpf, spec, maps);
      this.#loaded.push(loaded);
      for (const [map, made] of loaded.maps) {
        // Each object has its own constants.
        if (spec.maps.get(map)!.contents || maps[map]) continue;
        maps[map] = made;
        fill(made, pinnedMap(dump, map));
      }
    }
    this.#attachHooks();
  }

  /** Returns a program of one of the objects. */
  program(name: string) {
    for (const loaded of this.#loaded) {
      const program = loaded.programs.get(name);
      if (program) return program;
    }
    throw new Error(`find program ${name}: no object has it`);
  }

  [Symbol.dispose](): void {
    for (const loaded of this.#loaded) loaded[Symbol.dispose]();
    this.host[Symbol.dispose]();
  }

  #attachHooks(): void {
    const { bpf, cgroupPath } = this.host;
    for (const [name, { attachType }] of this.specs.socket.programs) {
      attachCgroup(bpf, this.program(name), cgroupPath, attachType);
    }
  }
}

function addressesOf({ links }: DumpedNetwork) {
  return (ifindex: number) => {
    const link = links.find(({ index }) => index === ifindex);
    return link && macBytes(link.address);
  };
}

/** Returns the object with the map sizes and constants of the node. */
function asDumped(spec: ObjectSpec, dump: Dump, program: string): ObjectSpec {
  let sized = spec;
  for (const [name, map] of spec.maps) {
    const found = pinnedMap(dump, name);
    if (!found || map.contents) continue;
    const { type, keySize, valueSize, maxEntries } = found.info;
    if (type !== map.type || keySize !== map.keySize || valueSize !== map.valueSize) {
      throw new Failure(
        exitCodes.failed,
        `trace: map ${name} of the node belongs to another version of Heddle than the programs (make the dump with the version that runs there)`,
      );
    }
    // For a ring buffer it is the number of bytes, for socket storage 0.
    if (maxEntries > 0) sized = withMap(sized, name, { maxEntries });
  }
  const constants = constantsOf(dump, program);
  const data = spec.maps.get('.rodata');
  if (!constants || !data?.contents) return sized;
  if (constants.length !== data.contents.length) {
    throw new Failure(
      exitCodes.failed,
      'trace: the constants of the programs belong to another version of Heddle (make the dump with the version that runs there)',
    );
  }
  return { ...sized, maps: new Map(sized.maps).set('.rodata', { ...data, contents: constants }) };
}

/** Returns the constants (`.rodata`) of the attached program. */
function constantsOf(dump: Dump, name: string): Uint8Array | undefined {
  const program = [...dump.programs.values()].find((each) => each.name === name);
  for (const id of program?.mapIds ?? []) {
    const map = dump.maps.get(id);
    if (map?.info.name !== '.rodata') continue;
    for (const [, value] of entriesOf(map)) return value;
    return new Uint8Array(map.valueBytes);
  }
  return undefined;
}

function fill(map: BpfMap, from: DumpedMap | undefined): void {
  if (!from || from.entries.length === 0) return;
  if (from.valueBytes !== map.valueBytes) {
    throw new Failure(exitCodes.failed, `trace: values of map ${map.info.name} are damaged`);
  }
  for (const [key, value] of entriesOf(from)) map.update(key, value);
}

/** Returns the pinned map of a name in an object, or undefined when the dump does not have it. */
function pinnedMap(dump: Dump, name: string): DumpedMap | undefined {
  return isMapName(name) ? mapNamed(dump, name) : undefined;
}
