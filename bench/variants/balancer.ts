/** Puts the services of the catalog into force in a lab of its own. */
export interface Balancer {
  readonly name: BalancerName;
  readonly lab: string;
  /**
   * Brings the first `count` services of the catalog into force, and nothing else. A string says
   * why it can't be done at that size.
   */
  install(count: number): Promise<string | undefined>;
}

export type BalancerName = 'heddle' | 'iptables' | 'nftables';
