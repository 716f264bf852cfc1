// A process of policy-flips.kernel.test.ts, in a pod. `flip-peer.ts serve ADDRESS...` accepts connections at port 80, and
// counts datagrams at port 81, until its stdin ends. `flip-peer.ts call ADDRESS COUNT` makes as many connections, and sends
// as many datagrams from new ports. Both print their counts.

import { BlockingSocket } from '@heddle/lab';
import { EPOLLIN, SO_LINGER, SOL_SOCKET } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { lingerReset, ProbeSockets } from './probe-sockets.ts';

const [, , role, ...args] = process.argv as [string, string, 'serve' | 'call', ...string[]];
const platform = nodePlatform(() => {});
const [allowedPort, deniedPort] = [80, 81];

if (role === 'serve') serve(args);
else call(args[0]!, Number(args[1]));

function serve(addresses: readonly string[]): void {
  const sockets = new ProbeSockets(platform);
  let connections = 0;
  let datagrams = 0;
  for (const address of addresses) {
    const family = address.includes(':') ? 6 : 4;
    const tcp = sockets.open('tcp', family);
    sockets.bind(tcp, { address, port: allowedPort });
    sockets.listen(tcp);
    sockets.watch(tcp, EPOLLIN, () => {
      for (let fd = sockets.accept(tcp); fd >= 0; fd = sockets.accept(tcp)) {
        connections++;
        // A reset ends it at once, so that no TIME-WAIT is left.
        sockets.watch(fd, EPOLLIN, () => sockets.close(fd, true));
      }
    });
    const udp = sockets.open('udp', family);
    sockets.bind(udp, { address, port: deniedPort });
    sockets.watch(udp, EPOLLIN, () => sockets.receiveAll(udp, () => datagrams++));
  }
  let isEnded = false;
  process.stdin.on('end', () => {
    isEnded = true;
  });
  process.stdin.resume();
  console.log('ready');
  const work = () => {
    while (sockets.wait(1) > 0);
    if (!isEnded) setImmediate(work);
    else console.log(JSON.stringify({ connections, datagrams }));
  };
  work();
}

function call(address: string, count: number): void {
  const family = address.includes(':') ? 6 : 4;
  let connections = 0;
  const errors: string[] = [];
  for (let i = 0; i < count; i++) {
    const options = { family, timeoutMs: 10_000 } as const;
    try {
      using tcp = BlockingSocket.open(platform, { protocol: 'tcp', ...options });
      tcp.setOption(SOL_SOCKET, SO_LINGER, lingerReset);
      tcp.connect({ address, port: allowedPort });
      connections++;
    } catch (error) {
      errors.push((error as Error).message);
    }
    using udp = BlockingSocket.open(platform, { protocol: 'udp', ...options });
    udp.send('denied', { address, port: deniedPort });
  }
  console.log(JSON.stringify({ connections, datagrams: count, errors: errors.slice(0, 3) }));
}
