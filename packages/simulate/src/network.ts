import { keyOf } from './addresses.ts';
import { destinationOf, toNode } from './frames.ts';
import { type AddressOwner, podInterface, type SimulatedNode } from './node-class.ts';

/**
 * The end of a frame: at a pod, outside the cluster, or nowhere (dropped, or without a receiver).
 */
export type Arrival =
  | {
      readonly at: 'pod';
      readonly pod: string;
      readonly node: SimulatedNode;
      readonly frame: Uint8Array;
    }
  | { readonly at: 'outside'; readonly frame: Uint8Array }
  | { readonly at: 'nowhere' };

const nowhere: Arrival = { at: 'nowhere' };
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
/** The limit on nodes that a frame passes, which ends loops. */
const maxHops = 8;

/** The network between nodes, pods and external clients: each hop runs the node's programs. */
export class Network {
  /** The owner of each address (16 bytes as text). */
  readonly owners = new Map<string, AddressOwner>();

  /** Delivers a frame that arrives at a node's external interface. */
  enter(frame: Uint8Array, node: SimulatedNode): Arrival {
    let [at, current] = [node, frame];
    for (let hop = 0; hop < maxHops; hop++) {
      if (!at.isUp) return nowhere;
      const { verdict, frame: made, redirection } = at.frame('ingress', toNode(current));
      if (verdict === TC_ACT_SHOT) return nowhere;
      let left = made;
      if (verdict !== TC_ACT_REDIRECT || redirection?.ifindex === podInterface) {
        const owner = this.owners.get(keyOf(destinationOf(made)));
        if (owner?.node === at) {
          if (!owner.isPod) return nowhere;
          return { at: 'pod', pod: keyOf(destinationOf(made)), node: at, frame: made };
        }
        const out = at.frame('egress', made);
        if (out.verdict === TC_ACT_SHOT) return nowhere;
        left = out.frame;
      }
      const next = this.owners.get(keyOf(destinationOf(left)));
      if (!next) return { at: 'outside', frame: left };
      [at, current] = [next.node, left];
    }
    return nowhere;
  }

  /** Delivers a frame that a pod on a node sends. */
  leave(frame: Uint8Array, node: SimulatedNode): Arrival {
    if (!node.isUp) return nowhere;
    const { verdict, frame: left } = node.frame('egress', frame);
    if (verdict === TC_ACT_SHOT) return nowhere;
    const next = this.owners.get(keyOf(destinationOf(left)));
    return next ? this.enter(left, next.node) : { at: 'outside', frame: left };
  }

  /** Returns true if a pod on a running node has this address. */
  isServing(pod: string): boolean {
    const owner = this.owners.get(pod);
    return owner?.isPod === true && owner.node.isUp;
  }
}
