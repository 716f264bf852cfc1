import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '@heddle/sys';
import { ctEntrySize, ctState, encodeCtEntry } from '../generated/abi.ts';
import { portsByDestination } from './nat-ports.ts';

interface Given {
  readonly backend: string;
  readonly port: number;
  readonly source?: number;
  readonly state?: number;
  readonly backendPort?: number;
}

const sources = ['', '192.0.2.1', 'fd00::1'];
const range = { first: 2000, last: 2999 };

function uses(...flows: readonly Given[]) {
  const bytes = new Uint8Array(flows.length * ctEntrySize);
  flows.forEach(
    ({ backend, port, source = 1, state = ctState.tcpEstablished, backendPort = 80 }, i) => {
      const flow = {
        ...{ client: parseIp(`198.51.100.${i}`)!, clientPort: 7, frontend: parseIp('192.0.2.1')! },
        ...{ frontendPort: 30_080, backend: parseIp(backend)!, backendPort, sourcePort: port },
        ...{ backendId: 1, stateWord: ((source << 24) | (state << 16)) >>> 0 },
      };
      encodeCtEntry(flow, bytes, i * ctEntrySize);
    },
  );
  return portsByDestination(bytes, range, (source) => parseIp(sources[source]!));
}

const tcp = { protocol: 'TCP', backendPort: 80, source: '192.0.2.1' };

describe('portsByDestination', () => {
  it('counts SNAT ports by backend, most first', () => {
    const found = uses(
      { backend: '10.0.0.1', port: 2000 },
      { backend: '10.0.0.2', port: 2000 },
      { backend: '10.0.0.2', port: 2999 },
      { backend: '10.0.0.2', port: 2001, backendPort: 81 },
      { backend: '10.0.0.2', port: 2001, state: ctState.udp },
      { backend: 'fd00::2', port: 2001, source: 2, state: ctState.sctp },
      { backend: '10.0.0.1', port: 2002, state: ctState.tcpClosedByBackend },
      { backend: '10.0.0.3', port: 2002, state: ctState.tcpReset },
    );
    assert.deepEqual(found[0], { ...tcp, backend: '10.0.0.2', used: 2 });
    assert.deepEqual(
      found
        .slice(1)
        .map(
          (use) => `${use.protocol} ${use.backend} ${use.backendPort} ${use.source} ${use.used}`,
        ),
      [
        'TCP 10.0.0.1 80 192.0.2.1 1',
        'TCP 10.0.0.2 81 192.0.2.1 1',
        'UDP 10.0.0.2 80 192.0.2.1 1',
        'SCTP fd00::2 80 fd00::1 1',
      ],
    );
  });

  it('leaves out flows without SNAT, of another port range, and closed ones', () => {
    assert.deepEqual(
      uses(
        { backend: '10.0.0.1', port: 2000, source: 0 },
        { backend: '10.0.0.1', port: 1999 },
        { backend: '10.0.0.1', port: 3000 },
        { backend: '10.0.0.1', port: 2000, state: ctState.dying },
        { backend: '10.0.0.1', port: 2000, state: ctState.free },
      ),
      [],
    );
  });
});
