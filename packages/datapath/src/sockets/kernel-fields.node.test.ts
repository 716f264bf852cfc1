import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Bpf, ProgramLoadOptions } from '@heddle/ebpf';
import { encodeUtf8, errno, SysError } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { VmHost } from '@heddle/vm';
import { kernelFields } from './kernel-fields.ts';

describe('kernelFields', () => {
  let host: VmHost;
  beforeEach(() => {
    const addresses = { v4: '192.0.2.1', v6: 'fd00::1' };
    host = new VmHost({ base: nodePlatform(() => {}), name: 'node', addresses });
  });
  afterEach(() => host?.[Symbol.dispose]());

  test("reads the offsets from the kernel's BTF", () => {
    const { known, socketNet, netDevices, ...others } = kernelFields(host.platform, host.bpf);
    // packages/vm/src/host/kernel-btf.ts has these offsets.
    assert.deepEqual([known, socketNet, netDevices], [1, 80, 8]);
    assert.equal(others.ipv6List, 24);
  });

  test('returns zeros where programs may not read kernel memory', () => {
    // The verifier answers so under lockdown=confidentiality (security_locked_down in kernel/bpf/helpers.c).
    const locked: Bpf = new Proxy(host.bpf, {
      get(target, name) {
        if (name === 'programLoad') {
          return (options: ProgramLoadOptions) => {
            options.log?.set(
              encodeUtf8('program of this type cannot use helper probe_read_kernel'),
            );
            throw new SysError('bpf', errno.EINVAL, `load program ${options.name}`);
          };
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    assert.deepEqual(new Set(Object.values(kernelFields(host.platform, locked))), new Set([0]));
  });
});
