import type { Backend, Frontend, ServiceRow } from '@heddle/services';

/** A row with what matters to the test; the rest is as a plain service has it. */
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
