import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import { formatPortRange, parsePortRange, snatPortProblems } from './snat-ports.ts';

const rowAt = (name: string, kind: string, ...ports: number[]) =>
  ({
    ...{ namespace: 'default', name },
    frontends: ports.map((port) => ({ kind, address: '192.0.2.1', port, protocol: 'TCP' })),
  }) as unknown as ServiceRow;

const problems = (snat: string, range: string, reserved = '', ...rows: ServiceRow[]) =>
  snatPortProblems(parsePortRange(snat)!, { range, reserved }, rows);

describe('ports that stand for clients', () => {
  it('are written as first and last', () => {
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

  it('keep clear of those that the kernel chooses', () => {
    assert.deepEqual(problems('1024-29999', '32768\t60999'), []);
    assert.match(
      problems('1024-29999', '10000 65000')[0]!,
      /sockets choose 10000-29999, too.*ip_local_reserved_ports=10000-29999/,
    );
    assert.match(problems('32768-40000', '1024 65535')[0]!, /choose 32768-40000,/);
  });

  it('may be reserved, which the kernel minds', () => {
    assert.deepEqual(problems('1024-29999', '1024 65535', '1024-29999'), []);
    assert.deepEqual(problems('1024-29999', '1024 65535', '80,900-2000,2001-40000'), []);
    assert.match(
      problems('1024-29999', '1024 65535', '1024-1999,20000-29999')[0]!,
      /choose 2000-19999,/,
    );
    // One range is what the advice can name.
    assert.match(problems('1024-29999', '1024 65535', '5000')[0]!, /choose 1024-29999,/);
  });

  it('are no NodePorts', () => {
    const service = rowAt('web', 'NodePort', 30_080, 20_080);
    assert.deepEqual(problems('1024-20079', '32768 60999', '', service), []);
    assert.match(
      problems('1024-29999', '32768 60999', '', service)[0]!,
      /NodePort 20080 of default\/web is one of them, .*--service-node-port-range/,
    );
    const many = [service, rowAt('api', 'NodePort', 20_081), rowAt('web', 'LoadBalancer', 8080)];
    assert.match(problems('1024-29999', '', '', ...many)[0]!, /20080 of default\/web and 1 more/);
  });

  it('are not judged where /proc is none', () => {
    assert.deepEqual(snatPortProblems({ first: 1024, last: 65_535 }, undefined, []), []);
  });
});
