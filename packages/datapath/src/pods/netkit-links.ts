import { attachNetkit, type Bpf, features, type LoadedObject } from '@heddle/ebpf';
import type { Damage } from '../core/audit.ts';
import type { PinnedLinks } from '../core/pinned-links.ts';

/** The programs of a netkit pair, and the end at which each runs on what the other end sends. */
const ends = { from_pod: 'peer', to_pod: 'primary' } as const;
const names = Object.keys(ends) as (keyof typeof ends)[];

const pinName = (program: keyof typeof ends, ifindex: number) => `${program}@${ifindex}`;
const pinPattern = /^(?:from|to)_pod@(\d+)$/;

/** Returns the index of the interface that a pinned link is at; undefined for links of others. */
const ifindexOf = (pin: string) => {
  const digits = pinPattern.exec(pin)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/**
 * The pinned links of the programs at pod interfaces of netkit. Unlike a filter, a link takes the kernel some 13 ms
 * to attach.
 */
export class NetkitLinks {
  readonly #bpf: Bpf;
  readonly #links: PinnedLinks;
  readonly #load: () => LoadedObject;

  /** `load` returns the programs, which it loads at first. */
  constructor(bpf: Bpf, links: PinnedLinks, load: () => LoadedObject) {
    this.#bpf = bpf;
    this.#links = links;
    this.#load = load;
  }

  /** True if the kernel has netkit. */
  get isSupported(): boolean {
    return features(this.#bpf).has('link/netkit');
  }

  /** Attaches the programs to the pair with that primary end, in place of others. Throws SysError, VerifierError. */
  attach(ifindex: number): void {
    const loaded = this.#load();
    for (const name of names) {
      const program = loaded.program(name);
      this.#links.attach({
        name: pinName(name, ifindex),
        program,
        // The link at the peer has the index that the pod's end has in its namespace; 0 is that of a detached link.
        isInPlace: (info) => info.kind === 'netkit' && info.ifindex !== 0,
        attach: () => attachNetkit(this.#bpf, program, ifindex, ends[name], 'first'),
      });
    }
  }

  isAttached(ifindex: number): boolean {
    return names.every((name) => this.#links.isAttached(pinName(name, ifindex)));
  }

  /** Returns the indexes of the interfaces at which a link is damaged. */
  damaged(links: readonly Damage[]): Set<number> {
    return new Set(links.map(({ name }) => ifindexOf(name)).filter((each) => each !== undefined));
  }

  /** Removes the links of all interfaces for which `isOther` returns true. Throws SysError. */
  forget(isOther: (ifindex: number) => boolean): void {
    this.#links.forget((pin) => {
      const ifindex = ifindexOf(pin);
      return ifindex !== undefined && isOther(ifindex);
    });
  }
}
