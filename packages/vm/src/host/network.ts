import type { Address } from './address.ts';
import type { SocketNamespace } from './socket.ts';

/** The network namespaces of all hosts by address, for the routing of packets. */
export class VmNetwork {
  readonly #places = new Map<Address, SocketNamespace>();

  add(namespace: SocketNamespace): void {
    this.#places.set(namespace.v4, namespace);
    this.#places.set(namespace.v6, namespace);
  }

  remove(namespace: SocketNamespace): void {
    this.#places.delete(namespace.v4);
    this.#places.delete(namespace.v6);
  }

  find(address: Address): SocketNamespace | undefined {
    return this.#places.get(address);
  }
}
