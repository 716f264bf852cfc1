import assert from 'node:assert/strict';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { test } from 'node:test';
import { checked, encodeCString, syscallNumbers } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { createVeth, NetlinkSocket, NetworkNamespace, Sysctls } from './index.ts';

const platform = nodePlatform();
const nr = syscallNumbers(platform);
const MS_BIND = 0x1000;

/** Another mount of the kernel's network settings. */
class Mount implements Disposable {
  readonly path = mkdtempSync('/tmp/sysctls-');

  constructor() {
    const [from, to] = ['/proc/sys/net', this.path].map(encodeCString) as [Uint8Array, Uint8Array];
    checked('mount', platform.syscall(nr.mount, from, to, 0, MS_BIND, 0));
  }

  [Symbol.dispose](): void {
    checked('umount2', platform.syscall(nr.umount2, encodeCString(this.path), 0));
    rmdirSync(this.path);
  }
}

test('another mount leads to the settings and interfaces of the namespace of the caller', () => {
  using mount = new Mount();
  using here = NetworkNamespace.create(platform);
  using there = NetworkNamespace.create(platform);
  const sysctls = new Sysctls(platform, mount.path);
  const name = 'ipv4/ip_default_ttl';
  here.enter(() => {
    using socket = new NetlinkSocket(platform);
    createVeth(socket, { name: 'hd1' }, { name: 'hd2' });
    sysctls.write(name, 33);
    assert.equal(sysctls.has('ipv4/conf/hd1'), true);
  });
  assert.equal(
    here.enter(() => new Sysctls(platform).read(name)),
    '33',
  );
  there.enter(() => {
    assert.equal(sysctls.read(name), '64');
    assert.equal(sysctls.has('ipv4/conf/hd1'), false);
  });
  assert.throws(() => here.enter(() => sysctls.write('ipv4/nothing', 1)), { name: 'SysError' });
});
