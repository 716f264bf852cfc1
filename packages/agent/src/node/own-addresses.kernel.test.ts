import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import {
  addAddress,
  changeLink,
  createVeth,
  deleteNamespace,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
  removeAddress,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { ownAddresses, watchOwnAddresses } from './own-addresses.ts';

const platform = nodePlatform();
const folder = '/run/heddle-test';
const path = `${folder}/own-${randomBytes(4).toString('hex')}`;

describe('own addresses', { timeout: 20_000 }, () => {
  let namespace: NetworkNamespace;

  before(() => {
    mkdirSync(folder, { recursive: true });
    namespace = NetworkNamespace.create(platform, path);
    namespace.enter(() => {
      using socket = new NetlinkSocket(platform);
      createVeth(socket, { name: 'own0', up: true }, { name: 'own1' });
      changeLink(socket, findLink(socket, 'lo')!.index, { up: true });
      const index = findLink(socket, 'own0')!.index;
      changeLink(socket, findLink(socket, 'own1')!.index, { up: true });
      addAddress(socket, index, '192.0.2.7/24');
      addAddress(socket, index, 'fd00:7::7/64');
      addAddress(socket, index, '169.254.9.9/32', { scope: 'link' });
    });
  });
  after(() => {
    namespace[Symbol.dispose]();
    deleteNamespace(platform, path);
  });

  it('own addresses are those that other hosts can reach: no loopback, no link-local ones', () => {
    assert.deepEqual(
      namespace.enter(() => ownAddresses(platform)),
      [
        { address: '192.0.2.7', device: 'own0' },
        { address: 'fd00:7::7', device: 'own0' },
      ],
    );
  });

  it('own addresses are reported again when they change, and only then', async () => {
    const index = namespace.enter(() => {
      using socket = new NetlinkSocket(platform);
      return findLink(socket, 'own0')!.index;
    });
    // The watch lists addresses from a timer, so it must be in the namespace then as well.
    const inside = {
      ...platform,
      setTimer: (milliseconds: number, fire: () => void) =>
        platform.setTimer(milliseconds, () => namespace.enter(fire)),
    };
    const told: string[][] = [];
    const watch = namespace.enter(() =>
      watchOwnAddresses(inside, ownAddresses(platform), (addresses) =>
        told.push(addresses.map(({ address }) => address)),
      ),
    );
    try {
      const change = (work: (socket: NetlinkSocket) => void) =>
        namespace.enter(() => {
          using socket = new NetlinkSocket(platform);
          work(socket);
        });
      const settled = () => new Promise((resolve) => setTimeout(resolve, 250));
      change((socket) => {
        addAddress(socket, index, '192.0.2.8/32');
        addAddress(socket, index, '192.0.2.9/32');
      });
      await settled();
      change((socket) => addAddress(socket, index, '169.254.9.10/32', { scope: 'link' }));
      await settled();
      change((socket) => removeAddress(socket, index, '192.0.2.8/32'));
      await settled();
      assert.deepEqual(told, [
        ['192.0.2.7', '192.0.2.8', '192.0.2.9', 'fd00:7::7'],
        ['192.0.2.7', '192.0.2.9', 'fd00:7::7'],
      ]);
    } finally {
      watch[Symbol.dispose]();
    }
  });
});
