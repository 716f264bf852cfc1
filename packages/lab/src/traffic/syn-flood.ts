// Sends TCP SYNs from the device of the place where it runs, each from another source that nobody
// has. Arguments: ifindex of the device, link-layer addresses of this place and of its router, where
// to (ADDRESS:PORT), how many.

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
using tap = Tap.openHere(nodePlatform(), { index: Number(index), name: 'eth0', hears: 'nothing' });
for (const frame of spoofedSyns({ src, dst }, readSocketAddress(to), Number(count))) {
  // The queue is full when the other end is slower: nothing was sent, so it is sent again.
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
