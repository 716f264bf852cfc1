import type { InventedCluster } from './cluster.ts';
import { metro } from './metro.ts';
import { shop } from './shop.ts';

/** The invented clusters by name: about 60 workloads, and about 500 with some 5,000 pods. */
export const clusters: Readonly<Record<'shop-berlin' | 'metro-500', () => InventedCluster>> = {
  'shop-berlin': shop,
  'metro-500': metro,
};
