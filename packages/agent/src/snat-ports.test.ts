import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatPortRange, parsePortRange, snatPortConflict } from './snat-ports.ts';

const conflict = (snat: string, range: string, reserved = '') =>
  snatPortConflict(parsePortRange(snat)!, { range, reserved });

describe('parsePortRange', () => {
  it('reads `first-last` with ports of 1024 to 65535, which formatPortRange writes', () => {
    for (const text of ['1024-29999', '1024-1024', '40000-65535']) {
      assert.equal(formatPortRange(parsePortRange(text)!), text);
    }
    for (const text of [
      '1023-2000',
      '2000-1999',
      '2000-65536',
      '2000',
      '2000-',
      '-2000',
      ' 2000-3000',
      '2e3-3000',
    ]) {
      assert.equal(parsePortRange(text), undefined, text);
    }
  });
});

describe('snatPortConflict', () => {
  it('names the SNAT ports that the kernel chooses for sockets, too', () => {
    assert.equal(conflict('1024-29999', '32768\t60999'), undefined);
    assert.match(
      conflict('1024-29999', '10000 65000')!,
      /sockets choose 10000-29999, too.*ip_local_reserved_ports=10000-29999/,
    );
    assert.match(conflict('32768-40000', '1024 65535')!, /choose 32768-40000,/);
  });

  it('accepts SNAT ports that are reserved in the kernel', () => {
    assert.equal(conflict('1024-29999', '1024 65535', '1024-29999'), undefined);
    assert.equal(conflict('1024-29999', '1024 65535', '80,900-2000,2001-40000'), undefined);
    assert.match(
      conflict('1024-29999', '1024 65535', '1024-1999,20000-29999')!,
      /choose 2000-19999,/,
    );
    // One range is what the advice can name.
    assert.match(conflict('1024-29999', '1024 65535', '5000')!, /choose 1024-29999,/);
  });

  it('returns nothing where /proc is not mounted', () => {
    assert.equal(snatPortConflict({ first: 1024, last: 65_535 }, undefined), undefined);
  });
});
