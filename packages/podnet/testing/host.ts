import { deleteNamespace, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import { checked, closeFd, syscallNumbers } from '@heddle/sys';
import { AF_INET, AF_INET6, encodeSockaddr, MSG_DONTWAIT, SOCK_DGRAM } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { prepareNamespace } from '../src/index.ts';

const platform = nodePlatform();
const nr = syscallNumbers(platform);

type InNamespace = Pick<Host, 'namespace'>;

/** A network namespace, and a socket in it. */
export class Host implements Disposable {
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  readonly #path: string | undefined;

  /** `path`: where to mount the namespace. Default: nowhere. */
  constructor(path?: string) {
    this.#path = path;
    this.namespace = NetworkNamespace.create(platform, path);
    this.socket = this.namespace.enter(() => new NetlinkSocket(platform));
    prepareNamespace(platform, this.namespace);
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
    if (this.#path !== undefined) deleteNamespace(platform, this.#path);
  }
}

/**
 * Sends datagrams from one host to an address of another until one arrives: the kernel drops those
 * that are sent before it has noticed that a new link has a carrier.
 */
export async function assertReaches(
  from: InNamespace,
  to: InNamespace,
  address: string,
): Promise<void> {
  const family = address.includes(':') ? AF_INET6 : AF_INET;
  const udp = (host: InNamespace) =>
    host.namespace.enter(() =>
      checked('socket', platform.syscall(nr.socket, family, SOCK_DGRAM, 0)),
    );
  const [sender, receiver] = [udp(from), udp(to)];
  try {
    const name = encodeSockaddr({ address, port: 7000 });
    checked('bind', platform.syscall(nr.bind, receiver, name, name.length));
    const bytes = Uint8Array.of(1);
    await eventually(`a datagram arrives at ${address}`, () => {
      checked('sendto', platform.syscall(nr.sendto, sender, bytes, 1, 0, name, name.length));
      return platform.syscall(nr.recvfrom, receiver, bytes, 1, MSG_DONTWAIT, 0, 0) === 1;
    });
  } finally {
    closeFd(platform, sender);
    closeFd(platform, receiver);
  }
}
