import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockingSocket, createLab } from '@heddle/lab';
import { encodeInt, IPPROTO_IPV6, IPV6_V6ONLY } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { listeners } from './listeners.ts';

test('listeners returns listening sockets with IPV6_V6ONLY, and no others', () => {
  const platform = nodePlatform(() => {});
  const lab = createLab(platform, { name: `listeners-${process.pid}`, podsPerNode: 0 });
  const [node] = lab.nodes;
  const opened: BlockingSocket[] = [];
  try {
    const open = (protocol: 'tcp' | 'udp', family: 4 | 6) => {
      const socket = node!.enter(() => BlockingSocket.open(platform, { protocol, family }));
      opened.push(socket);
      return socket;
    };
    const listen = (protocol: 'tcp' | 'udp', address: string, port: number, only = false) => {
      const socket = open(protocol, address.includes(':') ? 6 : 4);
      if (only) socket.setOption(IPPROTO_IPV6, IPV6_V6ONLY, encodeInt(1));
      socket.bind({ address, port });
      if (protocol === 'tcp') socket.listen();
      return socket;
    };
    listen('tcp', '0.0.0.0', 1001);
    listen('tcp', '::', 1002, true);
    listen('tcp', '::', 1003);
    listen('udp', '127.0.0.1', 1004);
    open('tcp', 4).connect({ address: '127.0.0.1', port: 1001 });
    const connected = open('udp', 4);
    connected.bind({ address: '127.0.0.1', port: 1005 });
    connected.connect({ address: '127.0.0.1', port: 1004 });
    const found = node!.enter(() => listeners(platform));
    assert.deepEqual(
      found
        .map(({ protocol, source, sourcePort, ipv6Only }) =>
          [protocol, source, sourcePort, ipv6Only].join(' '),
        )
        .sort(),
      [
        'tcp 0.0.0.0 1001 false',
        'tcp :: 1002 true',
        'tcp :: 1003 false',
        'udp 127.0.0.1 1004 false',
      ],
    );
  } finally {
    for (const socket of opened) socket[Symbol.dispose]();
    lab.remove();
  }
});
