import type { Bpf, BpfMap, LoadedObject, ObjectSpec } from '@heddle/ebpf';
import type { Disposal } from '@heddle/sys';
import { loadShared } from './load-shared.ts';

/** One value for each compiled object that is attached; those of XDP and pods are undefined where they are off. */
export interface PerObject<Part> {
  readonly socket: Part;
  readonly node: Part;
  readonly xdp: Part | undefined;
  readonly pod: Part | undefined;
  /** The object of pods once more, for interfaces of netkit; undefined until there is one. */
  readonly netkit: Part | undefined;
}

/** Returns what `convert` makes of each object's value. */
export function mapObjects<From, To>(
  { socket, node, xdp, pod, netkit }: PerObject<From>,
  convert: (part: From) => To,
): PerObject<To> {
  return {
    socket: convert(socket),
    node: convert(node),
    xdp: xdp && convert(xdp),
    pod: pod && convert(pod),
    netkit: netkit && convert(netkit),
  };
}

/** Returns the values that there are. */
export function partsOf<Part>({ socket, node, xdp, pod, netkit }: PerObject<Part>): Part[] {
  return [socket, node, xdp, pod, netkit].filter((part) => part !== undefined);
}

/** Loads all objects with shared maps; `opened` releases them. Throws SysError, VerifierError. */
export function loadPrograms(
  bpf: Bpf,
  specs: PerObject<ObjectSpec>,
  maps: Readonly<Record<string, BpfMap>>,
  opened: Disposal,
): PerObject<LoadedObject> {
  return mapObjects(specs, (spec) => opened.use(loadShared(bpf, spec, maps)));
}

/**
 * The programs of this agent. When maps grow, others take their place; who holds this object uses the present
 * ones. (Public in Datapath for test runs.)
 */
export class Programs {
  #specs: PerObject<ObjectSpec>;
  #loaded: PerObject<LoadedObject>;

  constructor(specs: PerObject<ObjectSpec>, loaded: PerObject<LoadedObject>) {
    this.#specs = specs;
    this.#loaded = loaded;
  }

  get specs(): PerObject<ObjectSpec> {
    return this.#specs;
  }

  get loaded(): PerObject<LoadedObject> {
    return this.#loaded;
  }

  get socket(): LoadedObject {
    return this.#loaded.socket;
  }

  get node(): LoadedObject {
    return this.#loaded.node;
  }

  get xdp(): LoadedObject | undefined {
    return this.#loaded.xdp;
  }

  get pod(): LoadedObject | undefined {
    return this.#loaded.pod;
  }

  get netkit(): LoadedObject | undefined {
    return this.#loaded.netkit;
  }

  /** Uses other programs from now on. The caller attaches them and closes the ones before. */
  replace(specs: PerObject<ObjectSpec>, loaded: PerObject<LoadedObject>): void {
    this.#specs = specs;
    this.#loaded = loaded;
  }
}
