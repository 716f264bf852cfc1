import { keyOf } from './addresses.ts';
import { destinationOf, toNode } from './frames.ts';
import { type Home, podDevice, type SimulatedNode } from './node-class.ts';

/** Where a frame ended: at a pod, with somebody outside, or nowhere (dropped, or nobody is there). */
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
/** A frame that has not arrived after so many nodes goes in circles. */
const mostHops = 8;

/** The network between nodes, their pods and clients outside: each hop runs the node's programs. */
export class Network {
  /** By address, 16 bytes as text. */
  readonly homes = new Map<string, Home>();

  /** A frame that a node's device gets. */
  enter(frame: Uint8Array, node: SimulatedNode): Arrival {
    let [at, current] = [node, frame];
    for (let hop = 0; hop < mostHops; hop++) {
      if (!at.isUp) return nowhere;
      const { verdict, frame: made, redirection } = at.frame('ingress', toNode(current));
      if (verdict === TC_ACT_SHOT) return nowhere;
      let left = made;
      if (verdict !== TC_ACT_REDIRECT || redirection?.ifindex === podDevice) {
        const home = this.homes.get(keyOf(destinationOf(made)));
        if (home?.node === at) {
          if (!home.isPod) return nowhere;
          return { at: 'pod', pod: keyOf(destinationOf(made)), node: at, frame: made };
        }
        const out = at.frame('egress', made);
        if (out.verdict === TC_ACT_SHOT) return nowhere;
        left = out.frame;
      }
      const next = this.homes.get(keyOf(destinationOf(left)));
      if (!next) return { at: 'outside', frame: left };
      [at, current] = [next.node, left];
    }
    return nowhere;
  }

  /** A frame that a pod on a node sends. */
  leave(frame: Uint8Array, node: SimulatedNode): Arrival {
    if (!node.isUp) return nowhere;
    const { verdict, frame: left } = node.frame('egress', frame);
    if (verdict === TC_ACT_SHOT) return nowhere;
    const next = this.homes.get(keyOf(destinationOf(left)));
    return next ? this.enter(left, next.node) : { at: 'outside', frame: left };
  }

  /** Returns true if a pod has this address and is reachable. */
  isServing(pod: string): boolean {
    const home = this.homes.get(pod);
    return home?.isPod === true && home.node.isUp;
  }
}
