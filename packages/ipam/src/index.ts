export {
  AddressesExhausted,
  AddressPool,
  type AddressPoolOptions,
  type Allocation,
  defaultReuseDelayMs,
  type FamilyUsage,
  usageWarnings,
} from './address-pool.ts';
export { addressAt, type Family, type ParsedRanges, type PodRange, parseRanges } from './ranges.ts';
export {
  type AttachmentRecord,
  formatRecord,
  isContainerId,
  isInterfaceName,
  isPodInterfaceName,
  longestAlias,
  type ParsedAlias,
  parseRecord,
  podInterfaceName,
  podMac,
  RecordTooLong,
} from './record.ts';
