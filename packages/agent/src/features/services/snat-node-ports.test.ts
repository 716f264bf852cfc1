import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import { parsePortRange } from '../../snat-ports.ts';
import { snatNodePorts } from './snat-node-ports.ts';

const rowAt = (name: string, kind: string, ...ports: number[]) =>
  ({
    ...{ namespace: 'default', name },
    frontends: ports.map((port) => ({ kind, address: '192.0.2.1', port, protocol: 'TCP' })),
  }) as unknown as ServiceRow;

describe('snatNodePorts', () => {
  it('warns of NodePorts that are SNAT ports, and names the first', () => {
    const service = rowAt('web', 'NodePort', 30_080, 20_080);
    const warnings = (snat: string, ...rows: ServiceRow[]) =>
      snatNodePorts(parsePortRange(snat)!, rows);
    assert.deepEqual(warnings('1024-20079', service), []);
    assert.match(
      warnings('1024-29999', service)[0]!,
      /NodePort 20080 of default\/web is one of them, .*--service-node-port-range/,
    );
    const many = [service, rowAt('api', 'NodePort', 20_081), rowAt('web', 'LoadBalancer', 8080)];
    assert.match(warnings('1024-29999', ...many)[0]!, /20080 of default\/web and 1 more/);
  });
});
