// Sends TCP SYNs from a network interface of the host on which it runs, each from another source address
// that no host has. Arguments: ifindex, link-layer addresses of the interface and of its router,
// destination (ADDRESS:PORT), number of packets.

import { errno, SysError } from '@heddle/sys';
import { readSocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { Tap } from '../packet/tap.ts';
import { spoofedSyns } from './spoofed-syns.ts';

const [index, src, dst, to, count] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
using tap = Tap.openHere(nodePlatform(), {
  index: Number(index),
  name: 'eth0',
  captures: 'nothing',
});
for (const frame of spoofedSyns({ src, dst }, readSocketAddress(to), Number(count))) {
  // The queue is full when the other end is slower. Nothing was sent, so the packet is sent again.
  while (!sent(frame));
}

function sent(frame: Uint8Array): boolean {
  try {
    tap.send(frame);
    return true;
  } catch (error) {
    if (error instanceof SysError && error.errno === errno.ENOBUFS) return false;
    throw error;
  }
}
