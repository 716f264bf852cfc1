import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Frontend, ServiceRow } from '@heddle/services';
import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { type Listener, shadowedListeners } from './listeners.ts';

const socket = (source: string, sourcePort: number, more: Partial<Listener> = {}): Listener => ({
  family: source.includes(':') ? AF_INET6 : AF_INET,
  ...{ protocol: 'tcp', source, sourcePort, ipv6Only: false },
  ...more,
});
const row = (...frontends: Pick<Frontend, 'kind' | 'address' | 'port'>[]) =>
  ({
    ...{ namespace: 'default', name: 'web' },
    frontends: frontends.map((each) => ({ protocol: 'TCP', ...each })),
  }) as unknown as ServiceRow;
const nodePort = (...addresses: string[]) =>
  row(...addresses.map((address) => ({ kind: 'NodePort' as const, address, port: 30080 })));
const isOwn = (address: string) => ['192.0.2.1', 'fd00::1'].includes(address);
const found = (of: ServiceRow, ...sockets: Listener[]) => shadowedListeners([of], sockets, isOwn);

test('shadowedListeners names a process at the address of a NodePort once, with the remedy', () => {
  const four = nodePort('192.0.2.1', '0.0.0.0');
  for (const source of ['0.0.0.0', '192.0.2.1', '127.0.0.1', '::']) {
    const [first, ...others] = found(four, socket(source, 30080));
    const where = source === '::' ? '[::]' : source;
    assert.equal(
      first,
      `NodePort 30080 of default/web: a process of this node listens at ${where}:30080/TCP and gets nothing of what comes to the service (give one of them another port or address)`,
    );
    assert.deepEqual(others, []);
  }
});

test('shadowedListeners ignores processes at other addresses, families, ports and protocols', () => {
  const four = nodePort('192.0.2.1', '0.0.0.0');
  const six = nodePort('fd00::1', '::');
  assert.deepEqual(
    found(
      four,
      socket('192.0.2.77', 30080),
      socket('::1', 30080),
      socket('fd00::1', 30080),
      socket('::', 30080, { ipv6Only: true }),
      socket('0.0.0.0', 30081),
      socket('0.0.0.0', 30080, { protocol: 'udp' }),
    ),
    [],
  );
  assert.deepEqual(found(six, socket('0.0.0.0', 30080), socket('127.0.0.1', 30080)), []);
  assert.equal(found(six, socket('::', 30080, { ipv6Only: true })).length, 1);
  assert.equal(found(six, socket('::1', 30080)).length, 1);
});

test('shadowedListeners checks hostPorts and external addresses of the node, and no ClusterIPs', () => {
  const any = socket('0.0.0.0', 22);
  const at = (kind: Frontend['kind'], address: string) => row({ kind, address, port: 22 });
  assert.match(found(at('HostPort', '192.0.2.1'), any)[0]!, /^HostPort 22 of default\/web: /);
  assert.match(found(at('ExternalIP', '192.0.2.1'), any)[0]!, /^externalIP 192\.0\.2\.1:22 of /);
  assert.equal(found(at('LoadBalancer', '192.0.2.1'), any).length, 1);
  assert.deepEqual(found(at('ExternalIP', '198.51.100.1'), any), []);
  assert.deepEqual(found(at('ClusterIP', '10.96.0.1'), any), []);
});
