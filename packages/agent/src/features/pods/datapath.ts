/** A pod as the datapath programs it. */
export interface ProgrammedPod {
  /** ifindex of the node's end. */
  readonly ifindex: number;
  readonly kind: 'veth' | 'netkit';
  /** The link-layer address of the pod's end. */
  readonly mac: string;
  /** At most one of each family. */
  readonly addresses: readonly string[];
  readonly mtu: number;
}

/** The part of the datapath that pods need. */
export interface PodsDatapath {
  readonly pods: {
    /**
     * Programs a pod and attaches the programs to its interface, which is not up yet. Replaces what the interface had.
     * Throws SysError, NetlinkError, NoRoom.
     */
    set(pod: ProgrammedPod): void;
    /** Removes the entries of an interface; the programs go with it. A missing one is fine. */
    remove(ifindex: number): void;
    /** Removes the entries of all other interfaces. */
    prune(ifindexes: ReadonlySet<number>): void;
    /** Returns true if an address finds room in the map. */
    hasRoom(address: string): boolean;
  };
}
