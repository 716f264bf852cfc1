import { type Bpf, BpfMap, type MapSpec, type ObjectSpec } from '@heddle/ebpf';
import { btfForKernel } from '@heddle/ebpf/internal';
import type { Disposal, Platform } from '@heddle/sys';
import { openMap, type PinFolder, type PinnedMap, pinMaps, resizedMap } from './pinned-maps.ts';

/**
 * The maps of all objects: those that an earlier agent pinned, where they fit, else new ones filled with what
 * those hold.
 */
export class DatapathMaps {
  readonly #bpf: Bpf;
  readonly #folders: readonly PinFolder[];
  readonly #opened: Disposal;
  readonly #specs = new Map<string, MapSpec>();
  readonly #pinned = new Map<string, PinnedMap>();
  /** The maps by name. It always has the present ones: a larger map takes another's place in it. */
  readonly byName: Record<string, BpfMap> = {};

  /**
   * `folders`: this layout's first, then others. A map that several objects have is of the first one's size.
   * `opened` closes the maps. Throws SysError.
   */
  constructor(
    bpf: Bpf,
    folders: readonly PinFolder[],
    objects: readonly ObjectSpec[],
    opened: Disposal,
  ) {
    this.#bpf = bpf;
    this.#folders = folders;
    this.#opened = opened;
    for (const object of objects) {
      withTypes(bpf, object, (types) => {
        for (const spec of object.maps.values()) {
          if (spec.contents !== undefined || this.#specs.has(spec.name)) continue;
          this.#specs.set(spec.name, spec);
          this.#take(openMap(bpf, spec, folders, types));
        }
      });
    }
  }

  /** Returns the map of that name. Throws Error when no object has one. */
  get(name: string): BpfMap {
    const map = this.byName[name];
    if (!map) throw new Error(`find map ${name}: the objects have no such map`);
    return map;
  }

  all(): BpfMap[] {
    return Object.values(this.byName);
  }

  /** The reasons why maps of an earlier agent could not be used as they were, one line each. */
  get differences(): string[] {
    return [...this.#pinned].flatMap(([name, { differences }]) =>
      differences.map((difference) => `${name}: ${difference}`),
    );
  }

  /** Returns true until `pin` when the map is new or was found in the folder of another layout. */
  isUnpinned(name: string): boolean {
    return this.#pinned.get(name)?.pinAt !== undefined;
  }

  /** Returns true when an earlier agent had the map, but not as this version needs it. */
  wasReplaced(name: string): boolean {
    return (this.#pinned.get(name)?.differences.length ?? 0) > 0;
  }

  /** Takes an empty map in place of the present one. Throws SysError. */
  renew(name: string, ...reasons: readonly string[]): void {
    const { map, differences } = this.#pinned.get(name)!;
    map[Symbol.dispose]();
    this.#take({
      map: BpfMap.create(this.#bpf, this.#specs.get(name)!),
      pinAt: `${this.#folders[0]!.maps}/${name}`,
      differences: [...differences, ...reasons],
    });
  }

  /** Makes maps of the sizes in `object` that hold what the present ones do. Throws SysError. */
  resized(object: ObjectSpec, names: readonly string[], opened: Disposal): PinnedMap[] {
    return withTypes(this.#bpf, object, (types) =>
      names.map((name) => {
        const spec = object.maps.get(name)!;
        const map = opened.use(resizedMap(this.#bpf, spec, this.get(name), types));
        return { map, pinAt: `${this.#folders[0]!.maps}/${name}`, differences: [] };
      }),
    );
  }

  /** Takes maps in place of those of the same names, which it returns; the caller closes them. */
  replace(larger: readonly PinnedMap[]): BpfMap[] {
    const before = larger.map(({ map: { info } }) => this.get(info.name));
    for (const each of larger) this.#take(each);
    return before;
  }

  /** Pins the maps that are not pinned yet, in place of what is there. Throws SysError. */
  pin(platform: Platform): void {
    pinMaps(platform, this.#folders[0]!, [...this.#pinned.values()]);
    for (const [name, each] of this.#pinned) this.#pinned.set(name, { ...each, pinAt: undefined });
  }

  #take(pinned: PinnedMap): void {
    const { name } = pinned.map.info;
    this.#opened.use(pinned.map);
    this.#pinned.set(name, pinned);
    this.byName[name] = pinned.map;
  }
}

/** Calls `work` with a descriptor of the object's types, and closes it afterwards. */
function withTypes<Result>(
  bpf: Bpf,
  { btf }: ObjectSpec,
  work: (types: number | undefined) => Result,
): Result {
  const types = btf && bpf.btfLoad(btfForKernel(btf));
  try {
    return work(types);
  } finally {
    if (types !== undefined) bpf.close(types);
  }
}
