/** Programs the services or the policies of the benchmark in a lab of its own. */
export interface Balancer {
  readonly name: BalancerName;
  readonly lab: string;
  /**
   * Programs the first `count` services of the catalog, or as many policies, and nothing else. A string
   * says why it can't be done at that size.
   */
  install(count: number): Promise<string | undefined>;
}

/** `other` is another build of Heddle, of `--beside`. */
export type BalancerName =
  | 'heddle'
  | 'other'
  | 'iptables'
  | 'nftables'
  | 'heddle policies'
  | 'heddle visibility'
  | 'kube-router'
  | 'kube-network-policies';
