import type { Backend, Frontend, ServiceRow } from '@heddle/services';
import fc from 'fast-check';

/** Returns a row with these fields; the others are those of a plain service. */
export function row(
  frontends: readonly (Partial<Frontend> & { address: string; port: number })[],
  backends: readonly (Partial<Backend> & { address: string; port: number })[],
  more: Partial<ServiceRow> = {},
): ServiceRow {
  const protocol = more.protocol ?? 'TCP';
  return {
    key: `default/test:${frontends[0]?.port}/${protocol}/${frontends[0]?.address}`,
    scope: 'everybody',
    silent: false,
    namespace: 'default',
    name: 'test',
    portName: `${frontends[0]?.port}`,
    protocol,
    family: frontends[0]?.address.includes(':') ? 'IPv6' : 'IPv4',
    frontends: frontends.map((frontend) => ({ kind: 'ClusterIP', protocol, ...frontend })),
    backends: backends.map((backend) => ({ state: 'active', weight: 1, ...backend })),
    algorithm: 'random',
    forwarding: 'snat',
    sourceRanges: [],
    affinitySeconds: 0,
    problems: [],
    ...more,
  };
}

const someBackend = fc.record({
  address: fc.constantFrom('10.244.1.1', '10.244.1.2', '10.244.1.3', 'fd00::1'),
  port: fc.constantFrom(80, 8080),
  state: fc.constantFrom('active' as const, 'active' as const, 'draining' as const),
  weight: fc.constant(1),
});

/** Generates rows of five services and two protocols; rows of a service share its key and some frontends. */
export const someRow = (): fc.Arbitrary<ServiceRow> =>
  fc
    .record({
      number: fc.integer({ min: 1, max: 5 }),
      protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
      hasNodePort: fc.boolean(),
      affinitySeconds: fc.constantFrom(0, 30),
      algorithm: fc.constantFrom('random' as const, 'round-robin' as const),
      backends: fc.uniqueArray(someBackend, {
        maxLength: 6,
        selector: ({ address, port }) => `${address} ${port}`,
      }),
    })
    .map(({ number, protocol, hasNodePort, backends, ...rest }) => {
      const clusterIp = { address: `10.96.0.${Math.ceil(number / 2)}`, port: number };
      const nodePort = { address: '192.0.2.1', port: 30_000 + number, kind: 'NodePort' as const };
      return row(hasNodePort ? [clusterIp, nodePort] : [clusterIp], backends, {
        ...rest,
        protocol,
        key: `default/s${number}:${number}/${protocol}`,
      });
    });
