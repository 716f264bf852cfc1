import type { ReservedPort } from '@heddle/services';
import { parseListenAddress } from '@heddle/sys/net';
import type { EffectiveConfig } from '../../status.ts';

/** Returns the ports where the agent itself serves health and metrics. */
export function ownPorts({
  healthAddress,
  metricsAddress,
}: Pick<EffectiveConfig, 'healthAddress' | 'metricsAddress'>): readonly ReservedPort[] {
  const reserve = (text: string, holder: string) => {
    const parsed = parseListenAddress(text);
    if (!parsed || parsed.port === 0) return [];
    const { address = '', port } = parsed;
    return [{ address: address === '0.0.0.0' ? '' : address, port, holder }];
  };
  return [
    ...reserve(healthAddress, "the agent's health checks (healthAddress)"),
    ...reserve(metricsAddress, "the agent's metrics (metricsAddress)"),
  ];
}
